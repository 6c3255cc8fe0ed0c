"""Size of the pictures that `lite` gets, and how much of it learns, on new patients.

python -m research.sizes brain-tumor-mri-dataset.zip

Every row trains on the first fold of patients; the one that validates best, on all five. One file of each distinct
scan is trained on. Beside the accuracy of each row: the mean of a scan and its mirror image in place of the scan, and
the three classes of tumour alone, among scans of known patients (healthy scans come from another collection, and other
things than a tumour tell them apart). Writes research/results/sizes.json after each row, and at the end prints the
table of README.md.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from research.markdown import accuracy, limits, percent, table
from research.protocols import FOLDS
from research.runs import CACHE, JOBS, ROOT, archive_parser, counted, prepare_scans, train, validation
from research.ways import MODEL
from trueslice.evaluate import metrics
from trueslice.evaluate.intervals import LIMITS, ConfusionBootstrap
from trueslice.files import write_json
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import Pixels
from trueslice.params import load
from trueslice.tables.predictions import Predictions
from trueslice.tables.splits import Splits

WORK = CACHE / "sizes"
RESULT = ROOT / "research/results/sizes.json"
EPOCHS = 5
CACHED = {"train.tune": "blocks", "train.views": 4, "train.epochs": 8}
ROWS = {
    f"{side} px, {blocks} block{'s' * (blocks > 1)}": {"checkpoint.image_size": side, "train.blocks": blocks, **CACHED}
    for side, blocks in ((96, 4), (128, 4), (160, 4), (192, 4), (224, 4), (160, 2), (160, 1))
} | {
    "160 px, all": {"checkpoint.image_size": 160, "train.epochs": EPOCHS},
    "160 px, all, 10 epochs": {"checkpoint.image_size": 160, "train.epochs": 10},
}
HEALTHY = "notumor"


def main() -> None:
    scans = prepare_scans(archive_parser(__doc__).parse_args().archive)
    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(lambda name: complete(scans, name, 1), ROWS))
        write()
        best = max(ROWS, key=lambda name: validation(folder(name, 1)))
        list(pool.map(lambda fold: complete(scans, best, fold), range(2, FOLDS + 1)))
    print(tables(write()))


def write() -> dict:
    result = {"model": MODEL, "rows": [row(name) for name in ROWS if finished(name)]}
    write_json(RESULT, result)
    return result


def place(name: str, fold: int) -> Path:
    return WORK / f"{name.replace(', ', '-').replace(' ', '-')}-fold{fold}"


def folder(name: str, fold: int) -> Path:
    return counted(place(name, fold))


def finished(name: str) -> list[int]:
    return [fold for fold in range(1, FOLDS + 1) if (folder(name, fold) / "mirrored.csv").exists()]


def complete(scans: Path, name: str, fold: int) -> None:
    """Train on all folds of patients but one, and classify that one, as it is and mirrored."""
    train(place(name, fold), MODEL | ROWS[name] | {"split.fold": fold, "seed": fold - 1}, scans)
    if fold not in finished(name):
        classify(folder(name, fold))


@torch.inference_mode()
def classify(run: Path) -> None:
    """Write predictions of the test scans, and mirrored.csv: those of the mean over a scan and its mirror image."""
    encoder = Encoder.load(run / "models/finetuned", torch.device("cpu"))
    splits, classes = Splits.read(run / "data/splits.csv"), load(run / "params.yaml").classes
    rows = np.flatnonzero(splits.split == "test")
    pixels = Pixels(np.load(run / "data/scans/pixels.npy", mmap_mode="r"), rows, encoder.image_size, encoder.device)
    captions = encoder.encode_classes(list(classes.values()))
    views = (pixels.all(), (batch.flip(-1) for batch in pixels.all()))
    logits = torch.stack([encoder.logits(view, captions) for view in views])
    as_is, other = logits.double().softmax(dim=2).numpy()
    known = splits.columns_of("test", list(classes))
    for path, probabilities in (("plots/predictions.csv", as_is), ("mirrored.csv", (as_is + other) / 2)):
        own = {"probabilities": probabilities, "y_pred": probabilities.argmax(axis=1)}
        Predictions(**known, **own).write(run / path)


def answered(table: Predictions, probabilities: np.ndarray) -> Predictions:
    return replace(table, probabilities=probabilities, y_pred=probabilities.argmax(axis=1))


def of_tumours(table: Predictions) -> Predictions:
    """Return the predictions of tumours of known patients, as if there were no other class."""
    healthy = table.class_names.index(HEALTHY)
    table = table.take((table.patient != "") & (table.y_true != healthy))
    names = tuple(name for name in table.class_names if name != HEALTHY)
    probabilities = np.delete(table.probabilities, healthy, axis=1)
    table = replace(table, class_names=names, y_true=table.y_true - (table.y_true > healthy))
    return answered(table, probabilities / probabilities.sum(axis=1, keepdims=True))


def row(name: str) -> dict:
    """Score the folds of a row that are finished, together, with intervals over units."""
    folders = [folder(name, fold) for fold in finished(name)]
    as_is, mirrored = (
        Predictions.concatenate([Predictions.read(each / path) for each in folders])
        for path in ("plots/predictions.csv", "mirrored.csv")
    )
    tumours = of_tumours(as_is)
    recalls = ConfusionBootstrap([as_is]).estimates(metrics.recall)
    return {
        "row": name,
        "settings": ROWS[name],
        "folds": len(folders),
        "test": len(as_is),
        "units": len(np.unique(as_is.unit)),
        "validation": np.mean([validation(each) for each in folders]),
        **ConfusionBootstrap([as_is]).estimate(metrics.accuracy).fields("accuracy", LIMITS),
        "recalls": dict(zip(as_is.class_names, [recall.value for recall in recalls], strict=True)),
        "mirrored": ConfusionBootstrap([mirrored]).estimate(metrics.accuracy).fields("accuracy", LIMITS),
        "tumours": {"test": len(tumours), "patients": len(np.unique(tumours.patient))}
        | ConfusionBootstrap([tumours]).estimate(metrics.accuracy).fields("accuracy", LIMITS),
    }


def tables(result: Mapping) -> str:
    """Return the table of README.md."""
    rows = []
    for row in result["rows"]:
        recalls = ", ".join(f"{100 * recall:.0f}" for recall in row["recalls"].values())
        others = [f"{percent(each['accuracy'])} ({limits(each)})" for each in (row["mirrored"], row["tumours"])]
        rows.append([row["row"], row["folds"], percent(row["validation"]), accuracy(row), recalls, *others])
    classes = ", ".join(result["rows"][0]["recalls"])
    heads = (
        "`lite` at",
        "folds",
        "validation",
        "accuracy",
        f"recall, %: {classes}",
        "mirrored too",
        "tumours alone",
    )
    return table(heads, rows)


if __name__ == "__main__":
    main()
