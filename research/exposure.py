"""Worth of a copy, and of a patient's other slices, in training: the same scans with and without them.

python -m research.exposure brain-tumor-mri-dataset.zip

Some scans that have a copy are only tested. In each training a known patient is in one of three arms: out of it, in it
by other scans, or in it by these and a copy of each tested scan. The arms rotate (a Latin square): in twelve trainings
each patient is four times in each arm, and every scan is judged in every arm by trainings of about as many files. The
luck of a training and the difficulty of a scan cancel (after Feldman & Zhang 2020). Scans without a known patient, such
as healthy ones, have two arms: without and with the copy. Intervals are over patients, or else over groups of copies.
Writes research/results/exposure.json and prints the table of README.md.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from research.markdown import percent, points, table
from research.protocols import beyond
from research.runs import CACHE, JOBS, ROOT, archive_parser, prepare, prepare_scans, run
from research.ways import MODEL
from trueslice.copies import groups
from trueslice.evaluate.compare import difference
from trueslice.files import write_json
from trueslice.tables.predictions import BaselinePredictions, Predictions
from trueslice.tables.scans import Scans
from trueslice.tables.splits import Splits

WORK = CACHE / "exposure"
RESULT = ROOT / "research/results/exposure.json"
TRAININGS = 12
VALIDATION = 0.15
OUT, IN, COPIES = 0, 1, 2
SETTINGS = MODEL | {"train.epochs": 5}


@dataclass(frozen=True)
class Design:
    """Roles of N scans: who is tested, who is its copy, and in which arm its unit starts."""

    unit: np.ndarray  # int [N], independent unit of each scan
    known: np.ndarray  # bool [N], its unit is a patient
    role: np.ndarray  # str [N]: val, test, copy, other, or empty for files that are left out
    start: np.ndarray  # int [N], arm of its unit in the first training

    def arms(self, training: int) -> np.ndarray:
        """Return the arm of each scan's unit in a training: int [N]."""
        return np.where(self.known, (self.start + training) % 3, IN + (self.start + training) % 2)

    def parts(self, training: int) -> np.ndarray:
        """Return what each scan is in a training: str [N], as in splits.csv."""
        arms = self.arms(training)
        train = ((self.role == "other") & (arms != OUT)) | ((self.role == "copy") & (arms == COPIES))
        return np.where(np.isin(self.role, ["val", "test"]), self.role, np.where(train, "train", "dropped"))


def main() -> None:
    scans = prepare_scans(archive_parser(__doc__).parse_args().archive)
    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(lambda training: complete(scans, training), range(TRAININGS)))
    result = score(design(Scans.read(scans / "data/scans/scans.csv")))
    write_json(RESULT, result)
    print(tables(result))


def design(scans: Scans) -> Design:
    """Set units aside for validation, and choose tested scans and their copies among the other units."""
    random = np.random.default_rng(0)
    unit = groups.units(scans)
    known = np.isin(unit, unit[scans.patient != ""])
    usable = ~groups.conflicting(scans)
    role, start = np.full(len(scans), "", "<U5"), random.integers(6, size=len(scans))[unit]
    for name in np.unique(scans.class_name):
        own = np.unique(unit[usable & (scans.class_name == name)])
        aside = random.permutation(own)[: round(VALIDATION * len(own))]
        for each in own:
            members = np.flatnonzero(usable & (unit == each))
            if each in aside:
                role[first_of_each(scans.group[members], members)] = "val"
            else:
                assign(role, members, scans.group[members], random, known[members[0]])
    return Design(unit, known, role, start)


def assign(role: np.ndarray, members: np.ndarray, group: np.ndarray, random: np.random.Generator, known: bool) -> None:
    """Give the scans of a unit, `members`, their roles; half of a patient's distinct scans at most are tested."""
    distinct, sizes = np.unique(group, return_counts=True)
    role[first_of_each(group, members)] = "other"
    most = len(distinct) // 2 if known else 1
    for tested in random.permutation(distinct[sizes > 1])[:most]:
        files = random.permutation(members[group == tested])
        role[members[group == tested]] = ""
        role[files[0]], role[files[1]] = "test", "copy"


def first_of_each(group: np.ndarray, members: np.ndarray) -> np.ndarray:
    return members[np.unique(group, return_index=True)[1]]


def complete(scans: Path, training: int) -> None:
    """Train, classify the tested scans, and let the baselines do so."""
    folder = WORK / str(training)
    prepare(folder, SETTINGS | {"seed": training // 3}, {"data/scans": scans / "data/scans"})
    run("checkpoint", folder)
    run("split", folder)  # for its columns; the parts are the design's
    splits = Splits.read(folder / "data/splits.csv")
    parts = design(Scans.read(scans / "data/scans/scans.csv")).parts(training)
    reason = np.where(parts == "dropped", "not in this training", "")
    replace(splits, split=parts, reason=reason).write(folder / "data/splits.csv")
    for stage in ("train", "predict", "baselines"):
        run(stage, folder)


def score(plan: Design) -> dict:
    """Compare the arms, for the model and the nearest neighbour, of all classes and of each."""
    folders = [WORK / str(training) for training in range(TRAININGS)]
    model = [Predictions.read(folder / "plots/predictions.csv") for folder in folders]
    rest = [BaselinePredictions.read(folder / "data/baselines.csv") for folder in folders]
    nearest = [each.take(each.baseline == "nearest_neighbour") for each in rest]
    tested = np.flatnonzero(plan.role == "test")
    trained = [int((plan.parts(training) == "train").sum()) for training in range(TRAININGS)]
    rows = []
    for of, runs in (("model", model), ("nearest neighbour", nearest)):
        for known, low, high in ((True, OUT, IN), (True, IN, COPIES), (False, IN, COPIES)):
            chosen = plan.known[tested] == known
            arms = [plan.arms(training)[tested][chosen] for training in range(TRAININGS)]
            sides = [by_arm([each.take(chosen) for each in runs], arms, arm) for arm in (low, high)]
            for name in (None, *sides[0][0].class_names):
                if row := compare(sides, name):
                    rows.append({"of": of, "known": known, "arms": [low, high], "class": name, **row})
    return {"model": SETTINGS, "trainings": TRAININGS, "train": [min(trained), max(trained)], "rows": rows}


def by_arm(runs: list[Predictions], arms: list[np.ndarray], arm: int) -> list[Predictions]:
    """Return tables over all scans, the k-th with the answers of the k-th training that has a scan's unit in `arm`."""
    inside = np.stack(arms) == arm
    order = np.argsort(~inside, axis=0, kind="stable")  # trainings with the unit in this arm first
    pieces = []
    for training in order[: inside.sum(axis=0).min()]:
        columns = {
            name: np.stack([getattr(each, name) for each in runs])[training, np.arange(len(training))]
            for name in ("y_pred", "probabilities")
        }
        pieces.append(replace(runs[0], **columns))
    return pieces


def compare(sides: list[list[Predictions]], name: str | None) -> dict | None:
    """Compare the accuracy on scans of a class, or of all, in two arms; None where there are no such scans."""
    if name is not None:
        wanted = sides[0][0].y_true == sides[0][0].class_names.index(name)
        if not wanted.any():
            return None
        sides = [[each.take(wanted) for each in side] for side in sides]
    low, high = sides
    found = difference(low, high, of_methods=False)
    first = sides[0][0]
    counts = {"scans": len(first), "units": len(np.unique(first.unit))}
    return counts | {"accuracies": [found.a, found.b], **beyond(found)}


def tables(result: Mapping) -> str:
    """Return the table of README.md."""
    gained = {(OUT, IN): "the patient's other slices", (IN, COPIES): "a copy of the scan"}
    rows = []
    for row in result["rows"]:
        words = gained[tuple(row["arms"])]
        words += " besides them" if row["known"] and row["arms"] == [IN, COPIES] else ""
        before, after = map(percent, row["accuracies"])
        heads = [words, row["of"], row["class"] or ("all" if row["known"] else "all, no patient known")]
        rows.append([*heads, f"{row['scans']:,}", row["units"], f"{before} → {after}", points(row)])
    return table(["in training", "of", "class", "scans", "units", "accuracy", "points (95 % interval)"], rows)


if __name__ == "__main__":
    main()
