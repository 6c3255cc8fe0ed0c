"""The ways to fine-tune side by side on new patients, from an image tower that knows ImageNet (`lite`).

python -m research.ways brain-tumor-mri-dataset.zip

Every way trains on the same scans of each fold from the same weights, with one setting that differs from `full`.
Nothing is tuned: rate, batch and epochs are those of `full`. `projection` has more epochs, which cost seconds, and
`patience`, which stops early, has some to stop from. The folds run side by side, with one thread each.
Writes research/results/ways.json after each way, and at the end prints the table of README.md.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from research.markdown import accuracy, percent, points, table
from research.protocols import FOLDS, beyond
from research.runs import CACHE, JOBS, ROOT, archive_parser, counted, prepare_scans, run, train, validation
from trueslice.evaluate import metrics
from trueslice.evaluate.compare import difference, holm
from trueslice.evaluate.intervals import LIMITS, ConfusionBootstrap
from trueslice.files import read_json, write_json
from trueslice.tables.predictions import BaselinePredictions, Predictions

WORK = CACHE / "ways"
RESULT = ROOT / "research/results/ways.json"
MODEL = {
    "checkpoint.name": "lite",
    "split.protocol": "patients",
    "split.folds": FOLDS,
    "split.copies": "one",  # half of the time, and what is left out are copies
    "train.objective": "multi_positive",
    "train.learning_rate": 1e-3,
    "train.batch_size": 32,
    "train.label_smoothing": 0.05,
    "train.epochs": 4,
    "train.precision": "fp32",
    "train.device": "cpu",
}
# The first is what the others are held against.
WAYS = {
    "full": {},
    "projection": {"train.tune": "projection", "train.epochs": 30},
    "vision": {"train.tune": "vision"},
    "layer_decay: 0.75": {"train.layer_decay": 0.75},
    "ema: 0.99": {"train.ema": 0.99},
    "balance: weights": {"train.balance": "weights"},
    "patience: 1": {"train.patience": 1, "train.epochs": 8},
    "balance: sampler": {"train.balance": "sampler"},
}
PROBE = "linear probe"


def main() -> None:
    scans = prepare_scans(archive_parser(__doc__).parse_args().archive)
    with ThreadPoolExecutor(JOBS) as pool:
        for way in WAYS:
            list(pool.map(partial(complete, scans, way), range(1, FOLDS + 1)))
            write_json(RESULT, {"model": MODEL, "folds": FOLDS, "ways": rows()})
    print(tables(read_json(RESULT)))


def folder(way: str, fold: int) -> Path:
    return WORK / f"{way.replace(': ', '-')}-fold{fold}"


def complete(scans: Path, way: str, fold: int) -> None:
    """Train in one way on all folds of patients but one, and classify that one; the linear probe too, once."""
    train(folder(way, fold), MODEL | WAYS[way] | {"split.fold": fold, "seed": fold - 1}, scans)
    run("predict", counted(folder(way, fold)))
    if way == "full":
        run("baselines", counted(folder(way, fold)))


def found(way: str) -> dict[int, Predictions]:
    """Read the predictions of a way for the test scans of each fold that it has finished."""
    if way == PROBE:
        tables = {fold: BaselinePredictions.read(_own("full", fold) / "data/baselines.csv") for fold in found("full")}
        return {fold: table.take(table.baseline == "linear_probe") for fold, table in tables.items()}
    last = ".baselines" if way == "full" else ".predict"
    folds = [fold for fold in range(1, FOLDS + 1) if (_own(way, fold) / last).exists()]
    return {fold: Predictions.read(_own(way, fold) / "plots/predictions.csv") for fold in folds}


def _own(way: str, fold: int) -> Path:
    return counted(folder(way, fold))


def rows() -> list[dict]:
    """Score each way, and say how far it is from `full` on the same scans, with intervals over units."""
    full, result = found("full"), []
    for way in (*WAYS, PROBE):
        if not (single := found(way)):
            continue
        folds = list(single.values())
        joined = folds[0].concatenate(folds)
        accuracies = ConfusionBootstrap([joined]).estimate(metrics.accuracy)
        row = {"way": way, "folds": len(single), "test": len(joined), "units": len(np.unique(joined.unit))}
        row |= {"validation": None if way == PROBE else np.mean([validation(_own(way, fold)) for fold in single])}
        row |= accuracies.fields("accuracy", LIMITS)
        row |= {"of_folds": [ConfusionBootstrap([each]).estimate(metrics.accuracy).value for each in folds]}
        row |= {"macro_f1": ConfusionBootstrap([joined]).estimate(metrics.macro_f1).value}
        if way != "full":
            same = Predictions.concatenate([full[fold] for fold in single])
            row |= {"against_full": beyond(difference([same], [joined]))}
        result.append(row)
    others = [row["against_full"] for row in result if row["way"] != "full"]
    for each, adjusted in zip(others, holm([each["p_value"] for each in others]), strict=True):
        each["p_holm"] = adjusted
    return result


def tables(result: Mapping) -> str:
    """Return the table of README.md."""
    rows = []
    for row in result["ways"]:
        name = row["way"] if row["way"] == PROBE else f"`{row['way']}`"
        validation = "–" if row["validation"] is None else percent(row["validation"])
        of_folds = ", ".join(f"{100 * each:.1f}" for each in row["of_folds"])
        against = row.get("against_full")
        compared = [points(against), f"{against['p_holm']:.2g}"] if against else ["–", "–"]
        rows.append([name, validation, accuracy(row), of_folds, f"{row['macro_f1']:.3f}", *compared])
    return table(["way", "validation", "accuracy", "of each fold", "macro F1", "− `full`, points", "p, Holm"], rows)


if __name__ == "__main__":
    main()
