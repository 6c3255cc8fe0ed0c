"""Dependence of the score on the split: every protocol with several seeds, on a published archive.

python -m research.protocols brain-tumor-mri-dataset.zip

A seed varies all that is drawn: initial weights, validation scans, random drops, order, captions and augmentation.
Under `grouped`, `blocked` and `patients` it also varies the test set: seed 0 tests the first of five folds, seed 1 the
second, and so on, so that no scan is tested twice. A training that collapses is done again. The stages run as they are,
in .cache/protocols, two at a time with one thread each. Writes research/results/protocols.json and prints the tables
of README.md. `--model tiny_conv` does so for a small model from random weights.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from research.markdown import accuracy, percent, points, span, table
from research.runs import CACHE, JOBS, ROOT, again, archive_parser, counted, prepare_scans, run, train
from trueslice.evaluate import metrics
from trueslice.evaluate.compare import difference, pair
from trueslice.evaluate.intervals import LIMITS, ConfusionBootstrap
from trueslice.files import read_json, write_json
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
SHOWN = ("linear_probe", "nearest_neighbour", "border_strips")  # baselines of the short table; the best is among them
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
PRETRAINED = {
    "checkpoint.name": "lite",
    "train.learning_rate": 1e-3,
    "train.batch_size": 32,
    "train.label_smoothing": 0.05,
    "train.epochs": 5,
}
RESULT = ROOT / "research/results/protocols.json"
MODELS = {"lite": MODEL | PRETRAINED, "tiny_conv": MODEL}


@dataclass(frozen=True)
class Study:
    """Trainings of one of MODELS under every protocol, with every seed."""

    model: str

    def place(self, protocol: str, seed: int) -> Path:
        """Return the folder of the first training."""
        return WORK / self.model / protocol / str(seed)

    def complete(self, scans: Path, protocol: str, seed: int) -> None:
        """Train, and classify the test scans with and without the model."""
        if protocol in OFFICIAL:
            division = {"split.leaks": protocol}
        else:
            division = {"split.protocol": protocol, "split.folds": FOLDS, "split.fold": seed + 1}
        train(self.place(protocol, seed), MODELS[self.model] | division | {"seed": seed}, scans)
        for stage in ("predict", "baselines"):
            run(stage, counted(self.place(protocol, seed)))

    def read(self, protocol: str, kind: type, path: str) -> list:
        """Read a file of each seed."""
        return [kind.read(counted(self.place(protocol, seed)) / path) for seed in SEEDS]

    def models(self, protocol: str) -> list[Predictions]:
        """Read the answers of the trained models."""
        return self.read(protocol, Predictions, "plots/predictions.csv")

    def baselines(self, protocol: str) -> dict[str, list[Predictions]]:
        """Read the answers of each baseline."""
        tables = self.read(protocol, BaselinePredictions, "data/baselines.csv")
        names = dict.fromkeys(tables[0].baseline.tolist())
        return {name: [table.take(table.baseline == name) for table in tables] for name in names}


def main() -> None:
    parser = archive_parser(__doc__)
    parser.add_argument("--model", choices=MODELS, default="lite")
    options = parser.parse_args()
    study, scans = Study(options.model), prepare_scans(options.archive)
    jobs = [(protocol, seed) for seed in SEEDS for protocol in reversed(PROTOCOLS)]
    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(lambda job: study.complete(scans, *job), jobs))
    result = read_json(RESULT) | {options.model: score(study)}
    write_json(RESULT, result)
    print(tables(result))


def score(study: Study) -> dict:
    jobs = [(protocol, seed) for seed in SEEDS for protocol in PROTOCOLS]
    collapsed = [f"{protocol} {seed}" for protocol, seed in jobs if again(study.place(protocol, seed)).exists()]
    result = {"seeds": len(SEEDS), "folds": FOLDS, "model": MODELS[study.model], "collapsed": collapsed}
    return result | {"protocols": [row(study, each) for each in PROTOCOLS], "differences": differences(study)}


def joined(protocol: str, runs: list[Predictions]) -> list[Predictions]:
    """Runs over the same scans as they are; those of several folds as one."""
    return list(pair(dict(enumerate(runs))).values()) if protocol in OFFICIAL else [runs[0].concatenate(runs)]


def row(study: Study, protocol: str) -> dict:
    """Scores of a protocol's models and baselines: the mean over its runs, with intervals over units."""
    counts = study.read(protocol, SplitCounts, "metrics/split.json")
    single = study.models(protocol)
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
        "baselines": baselines(study, protocol, runs),
    }


def per_distinct(run: Predictions) -> float:
    """The mean over groups of copies of how many of a group's files are right."""
    numbers = np.unique(run.group, return_inverse=True)[1]
    return float(np.mean(np.bincount(numbers, run.y_pred == run.y_true) / np.bincount(numbers)))


def baselines(study: Study, protocol: str, runs: list[Predictions]) -> list[dict]:
    """Accuracy of each baseline, and what the models reach beyond it."""
    rows = []
    for name, answers in study.baselines(protocol).items():
        found = difference(joined(protocol, answers), runs)
        rows.append({"baseline": name, "accuracy": found.a, **beyond(found)})
    return rows


def beyond(found) -> dict:
    return {
        "difference": found.difference,
        "low": found.interval.low,
        "high": found.interval.high,
        "p_value": found.p_value,
    }


def differences(study: Study) -> list[dict]:
    """Measure the worth of copies and patients by the same scans tested by models that had them in training and not."""
    rows = []
    for name, of in (
        ("model", study.models),
        ("nearest_neighbour", lambda each: study.baselines(each)["nearest_neighbour"]),
    ):
        for a, b in (("drop_train", "drop_random"), ("drop_train", "keep"), ("patients", "grouped")):
            first, second = common(joined(a, of(a)), joined(b, of(b)))
            found = difference(first, second)
            row = {"of": name, "a": a, "b": b, "scans": len(first[0]), "units": len(np.unique(first[0].unit))}
            row |= {"accuracy_a": found.a, "accuracy_b": found.b, **beyond(found)}
            distinct = [np.mean([per_distinct(run) for run in side]) for side in (first, second)]
            rows.append(row | {"per_distinct_scan": float(distinct[1] - distinct[0])})
    return rows


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
    """Return the tables of README.md, for each model."""
    return "\n\n".join(map(tables_of, result.values()))


def tables_of(result: dict) -> str:
    """Return the tables of a model: accuracies, classes and baselines, differences."""
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
    shown = [name for name in SHOWN if name in {each["baseline"] for each in result["protocols"][0]["baselines"]}]
    for row in result["protocols"]:
        own = {each["baseline"]: each for each in row["baselines"]}
        shares = [percent(own[name]["accuracy"]) for name in shown]
        best = max(own.values(), key=lambda each: each["accuracy"])
        rows.append([f"`{row['protocol']}`: {MEANING[row['protocol']]}", accuracy(row), *shares, points(best)])
    columns = ("model (95 % interval)", *(name.replace("_", " ") for name in shown))
    return table(["division", *columns, "model − best of these, points"], rows)


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
