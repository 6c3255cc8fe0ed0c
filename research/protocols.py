"""Dependence of the score on the split: every protocol with several seeds, on a published archive.

python -m research.protocols brain-tumor-mri-dataset.zip

A seed varies all that is drawn: initial weights, validation scans, random drops, order, captions and augmentation.
Under `grouped`, `blocked` and `patients` it also varies the test set: seed 0 tests the first of five folds, seed 1 the
second, and so on, so that no scan is tested twice. A training that collapses is done again. The stages run as they are,
in .cache/protocols, two at a time with one thread each. Writes research/results/protocols.json and prints the tables
of README.md.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from research.markdown import accuracy, percent, points, span, table
from research.runs import CACHE, JOBS, ROOT, again, archive_parser, counted, prepare_scans, run, train
from trueslice.evaluate import metrics
from trueslice.evaluate.compare import difference, pair
from trueslice.evaluate.intervals import LIMITS, ConfusionBootstrap
from trueslice.files import write_json
from trueslice.records.split import SplitCounts
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
EFFECTS = (
    ("copies in training", "keep", "drop_train"),
    ("copies, with as many training files", "drop_random", "drop_train"),
    ("the same patients in training", "grouped", "patients"),
)
SEEDS = (0, 1, 2)
FOLDS = 5
# Objective and rate validate best on patients (research/objectives.py); six epochs take about four minutes.
MODEL = {
    "checkpoint.name": "tiny_conv",
    "train.objective": "multi_positive",
    "train.learning_rate": 4e-3,
    "train.epochs": 6,
    "train.precision": "fp32",
    "train.device": "cpu",
}
RESULT = ROOT / "research/results/protocols.json"


def main() -> None:
    scans = prepare_scans(archive_parser(__doc__).parse_args().archive)
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
    """Scores of a protocol's models and baselines: the mean over its runs, with intervals over units."""
    counts = [SplitCounts.read(folder(protocol, seed) / "metrics/split.json") for seed in SEEDS]
    single = read(protocol, Predictions, "plots/predictions.csv")
    runs = joined(protocol, single)
    return {
        "protocol": protocol,
        "train": round(np.mean([count.train for count in counts])),
        "test": len(runs[0]),
        "units": len(np.unique(runs[0].unit)),
        "patients": len(np.unique(runs[0].patient[runs[0].patient != ""])),
        **ConfusionBootstrap(runs).estimate(metrics.accuracy).fields("accuracy", LIMITS),
        "of_seeds": [float(np.mean(run.y_pred == run.y_true)) for run in single],
        "per_distinct_scan": float(np.mean([per_distinct(run) for run in runs])),
        "macro_f1": ConfusionBootstrap(runs).estimate(metrics.macro_f1).value,
        "classes": [
            {"class": name, "test": int((runs[0].y_true == index).sum()), "recall": recall.value}
            for index, (name, recall) in enumerate(
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
    """Measure the worth of copies and patients by the same scans tested by models that had them in training and not."""
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
    """Return the tables of README.md: accuracies, classes and baselines, differences."""
    rows = [
        [
            f"`{row['protocol']}`", *(f"{row[key]:,}" for key in ("train", "test", "units")), accuracy(row),
            span(row["of_seeds"]), percent(row["per_distinct_scan"]), f"{row['macro_f1']:.3f}",
        ]
        for row in result["protocols"]
    ]  # fmt: skip
    heads = ("split", "training scans", "test scans", "units", "accuracy", "of seeds", "per distinct scan", "macro F1")
    return "\n\n".join([table(heads, rows), classes_and_baselines(result), differences_table(result)])


def classes_and_baselines(result: dict) -> str:
    first = result["protocols"][0]
    names = [each["class"] for each in first["classes"]] + [each["baseline"] for each in first["baselines"]]
    rows = [
        [
            f"`{row['protocol']}`",
            *(percent(each["recall"]) for each in row["classes"]),
            *(percent(each["accuracy"]) for each in row["baselines"]),
            points(max(row["baselines"], key=lambda each: each["accuracy"])),
        ]
        for row in result["protocols"]
    ]
    return table(["split", *(name.replace("_", " ") for name in names), "model − best baseline, points"], rows)


def differences_table(result: dict) -> str:
    rows = [
        [
            f"`{row['b']}` − `{row['a']}`",
            row["of"].replace("_", " "),
            f"{row['scans']:,}",
            f"{percent(row['accuracy_b'])} and {percent(row['accuracy_a'])}",
            points(row),
            f"{100 * row['per_distinct_scan']:+.1f}".replace("-", "−"),
        ]
        for row in result["differences"]
    ]
    return table(["difference", "of", "scans", "accuracy", "points (95 % interval)", "per distinct scan"], rows)


def short_table(result: dict) -> str:
    """Return the table of the project's README and of docs/leakage.md."""
    rows = []
    for row in result["protocols"]:
        two = [each for each in row["baselines"] if each["baseline"] in ("nearest_neighbour", "border_strips")]
        best = max(two, key=lambda each: each["accuracy"])
        shares = (percent(each["accuracy"]) for each in two)
        rows.append([f"`{row['protocol']}`: {MEANING[row['protocol']]}", accuracy(row), *shares, points(best)])
    columns = ("model (95 % interval)", "nearest neighbour", "border strips", "model − best of the two, points")
    return table(["division", *columns], rows)


def effects_table(result: dict) -> str:
    """Return the effects of copies and patients in points, for the project's README and docs/leakage.md."""
    found = {(row["of"], row["b"], row["a"]): row for row in result["differences"]}
    rows = [
        [f"{words} (`{b}` − `{a}`)", *(points(found[of, b, a]) for of in ("nearest_neighbour", "model"))]
        for words, b, a in EFFECTS
    ]
    return table(["accuracy gained from", "nearest neighbour, points", "model, points"], rows)


if __name__ == "__main__":
    main()
