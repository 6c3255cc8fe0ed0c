"""How much the score depends on the split: every protocol with several seeds, on a published archive.

python -m benchmarks.protocols brain-tumor-mri-dataset.zip

A seed varies all that is drawn: initial weights, validation scans, random drops, order, captions and augmentation.
Under `grouped`, `blocked` and `patients` it also varies the test set: seed 0 tests the first of five folds, seed 1 the
second, and so on, so that no scan is tested twice. A training that collapses is done again. The stages run as they are,
in .cache/protocols, two at a time with one thread each. Writes benchmarks/results/protocols.json and prints the tables
of docs/results.md.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.pipeline import CACHE, JOBS, ROOT, again, counted, percent, points, prepare_scans, run, train
from trueslice.evaluate import metrics
from trueslice.evaluate.compare import difference, pair
from trueslice.evaluate.intervals import ConfusionBootstrap
from trueslice.files import read_json, write_json
from trueslice.tables.predictions import BaselinePredictions, Predictions

WORK = CACHE / "protocols"
OFFICIAL = ("keep", "drop_random", "drop_train")
PROTOCOLS = (*OFFICIAL, "grouped", "blocked", "patients")
MEANING = {
    "keep": "as published",
    "drop_random": "fewer training scans, at random",
    "drop_train": "no copies in training",
    "grouped": "a new split, copies together",
    "blocked": "a new split, neighbours in name together",
    "patients": "a new split, patients together",
}
SEEDS = (0, 1, 2)
FOLDS = 5
# Objective and rate validate best on patients (benchmarks/objectives.py); six epochs take about four minutes.
MODEL = {
    "checkpoint.name": "tiny_conv",
    "train.objective": "multi_positive",
    "train.learning_rate": 4e-3,
    "train.epochs": 6,
    "train.precision": "fp32",
    "train.device": "cpu",
}
RESULT = ROOT / "benchmarks/results/protocols.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="folder or .zip with Training/ and Testing/")
    scans = prepare_scans(parser.parse_args().archive)
    jobs = [(protocol, seed) for seed in SEEDS for protocol in reversed(PROTOCOLS)]
    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(lambda job: complete(scans, *job), jobs))
    collapsed = [f"{protocol} {seed}" for protocol, seed in jobs if again(WORK / protocol / str(seed)).exists()]
    result = {"seeds": len(SEEDS), "folds": FOLDS, "model": MODEL, "collapsed": collapsed}
    result |= {"protocols": [row(protocol) for protocol in PROTOCOLS], "differences": differences()}
    write_json(RESULT, result)
    print(tables(result))


def folder(protocol: str, seed: int) -> Path:
    return counted(WORK / protocol / str(seed))


def complete(scans: Path, protocol: str, seed: int) -> None:
    if protocol in OFFICIAL:
        division = {"split.leaks": protocol}
    else:
        division = {"split.protocol": protocol, "split.folds": FOLDS, "split.fold": seed + 1}
    train(WORK / protocol / str(seed), MODEL | division | {"seed": seed}, scans)
    for stage in ("predict", "baselines"):
        run(stage, folder(protocol, seed))


def read(protocol: str, kind: type, path: str) -> list:
    return [kind.read(folder(protocol, seed) / path) for seed in SEEDS]


def joined(protocol: str, runs: list[Predictions]) -> list[Predictions]:
    """Runs over the same scans as they are; those of several folds as one."""
    return list(pair(dict(enumerate(runs))).values()) if protocol in OFFICIAL else [runs[0].concatenate(runs)]


def row(protocol: str) -> dict:
    """What a protocol's models and baselines reach: the mean over its runs, with intervals over units."""
    counts = [read_json(folder(protocol, seed) / "metrics/split.json") for seed in SEEDS]
    single = read(protocol, Predictions, "plots/predictions.csv")
    runs = joined(protocol, single)
    accuracy = ConfusionBootstrap(runs).estimate(metrics.accuracy)
    return {
        "protocol": protocol,
        "train": round(np.mean([count["train"] for count in counts])),
        "test": len(runs[0]),
        "units": len(np.unique(runs[0].unit)),
        "patients": len(np.unique(runs[0].patient[runs[0].patient != ""])),
        "accuracy": accuracy.value,
        "low": accuracy.interval.low,
        "high": accuracy.interval.high,
        "of_seeds": [float(np.mean(run.y_pred == run.y_true)) for run in single],
        "per_distinct_scan": float(np.mean([per_distinct(run) for run in runs])),
        "macro_f1": ConfusionBootstrap(runs).estimate(metrics.macro_f1).value,
        "classes": [
            {"class": name, "test": int((runs[0].y_true == index).sum()), "recall": estimate.value}
            for index, (name, estimate) in enumerate(
                zip(runs[0].class_names, ConfusionBootstrap(runs).estimates(metrics.recall), strict=True)
            )
        ],
        "baselines": baselines(protocol, runs),
    }


def per_distinct(run: Predictions) -> float:
    """The mean over groups of copies of how many of a group's files are right."""
    numbers = np.unique(run.group, return_inverse=True)[1]
    return float(np.mean(np.bincount(numbers, run.y_pred == run.y_true) / np.bincount(numbers)))


def baselines(protocol: str, runs: list[Predictions]) -> list[dict]:
    """Accuracy of each baseline, and what the models reach beyond it."""
    tables = read(protocol, BaselinePredictions, "data/baselines.csv")
    rows = []
    for name in dict.fromkeys(tables[0].baseline.tolist()):
        own = joined(protocol, [table.take(table.baseline == name) for table in tables])
        found = difference(own, runs)
        rows.append({"baseline": name, "accuracy": found.a, **beyond(found)})
    return rows


def beyond(found) -> dict:
    return {
        "difference": found.difference,
        "low": found.interval.low,
        "high": found.interval.high,
        "p_value": found.p_value,
    }


def differences() -> list[dict]:
    """What copies and patients are worth, by the same scans tested by models that had them in training and not."""
    rows = []
    for name, of in (("model", model_runs), ("nearest_neighbour", neighbour_runs)):
        for a, b in (("drop_train", "drop_random"), ("drop_train", "keep"), ("patients", "grouped")):
            first, second = common(joined(a, of(a)), joined(b, of(b)))
            found = difference(first, second)
            row = {"of": name, "a": a, "b": b, "scans": len(first[0]), "units": len(np.unique(first[0].unit))}
            row |= {"accuracy_a": found.a, "accuracy_b": found.b, **beyond(found)}
            distinct = [np.mean([per_distinct(run) for run in side]) for side in (first, second)]
            rows.append(row | {"per_distinct_scan": float(distinct[1] - distinct[0])})
    return rows


def model_runs(protocol: str) -> list[Predictions]:
    return read(protocol, Predictions, "plots/predictions.csv")


def neighbour_runs(protocol: str) -> list[Predictions]:
    tables = read(protocol, BaselinePredictions, "data/baselines.csv")
    return [table.take(table.baseline == "nearest_neighbour") for table in tables]


def common(a: list[Predictions], b: list[Predictions]) -> tuple[list[Predictions], list[Predictions]]:
    """The scans that both sides tested, in one order."""
    paths = np.intersect1d(a[0].path, b[0].path)
    sides = []
    for side in (a, b):
        orders = [np.argsort(run.path, kind="stable") for run in side]
        ordered = [run.take(order) for run, order in zip(side, orders, strict=True)]
        sides.append([run.take(np.isin(run.path, paths)) for run in ordered])
    return tuple(sides)


def tables(result: dict) -> str:
    """The tables of docs/results.md."""
    lines = ["| split | training scans | test scans | units | accuracy | of seeds | per distinct scan | macro F1 |"]
    lines.append("| --- " * 8 + "|")
    for row in result["protocols"]:
        of_seeds = f"{100 * min(row['of_seeds']):.1f} to {100 * max(row['of_seeds']):.1f}"
        cells = [f"`{row['protocol']}`", f"{row['train']:,}", f"{row['test']:,}", f"{row['units']:,}"]
        cells += [f"**{percent(row['accuracy'])}** ({100 * row['low']:.1f} to {100 * row['high']:.1f})", of_seeds]
        lines.append(
            "| " + " | ".join([*cells, f"{percent(row['per_distinct_scan'])}", f"{row['macro_f1']:.3f}"]) + " |"
        )
    names = [each["class"] for each in result["protocols"][0]["classes"]]
    known = [each["baseline"].replace("_", " ") for each in result["protocols"][0]["baselines"]]
    lines += ["", f"| split | {' | '.join([*names, *known])} | model − best baseline, points |"]
    lines.append("| --- " * (len(names) + len(known) + 2) + "|")
    for row in result["protocols"]:
        cells = [f"`{row['protocol']}`", *(f"{percent(each['recall'])}" for each in row["classes"])]
        cells += [f"{percent(each['accuracy'])}" for each in row["baselines"]]
        best = max(row["baselines"], key=lambda each: each["accuracy"])
        lines.append("| " + " | ".join([*cells, points(best)]) + " |")
    lines += ["", "| difference | of | scans | accuracy | points (95 % interval) | per distinct scan |"]
    lines.append("| --- " * 6 + "|")
    for row in result["differences"]:
        cells = [f"`{row['b']}` − `{row['a']}`", row["of"].replace("_", " "), f"{row['scans']:,}"]
        cells += [f"{percent(row['accuracy_b'])} and {percent(row['accuracy_a'])}", points(row)]
        lines.append("| " + " | ".join([*cells, f"{100 * row['per_distinct_scan']:+.1f}".replace("-", "−")]) + " |")
    return "\n".join(lines)


def short_table(result: dict) -> str:
    """The table of the README."""
    lines = [
        "| division | model (95 % interval) | nearest neighbour | border strips | model − best of the two, points |"
    ]
    lines.append("| --- " * 5 + "|")
    for row in result["protocols"]:
        two = {each["baseline"]: each for each in row["baselines"]}
        two = [two[name] for name in ("nearest_neighbour", "border_strips")]
        cells = [f"`{row['protocol']}`: {MEANING[row['protocol']]}"]
        cells.append(f"**{percent(row['accuracy'])}** ({100 * row['low']:.1f} to {100 * row['high']:.1f})")
        cells += [f"{percent(each['accuracy'])}" for each in two]
        lines.append("| " + " | ".join([*cells, points(max(two, key=lambda each: each["accuracy"]))]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
