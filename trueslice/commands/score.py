"""Score the predictions of any model, and show which scans that model may have seen.

  trueslice score FILE.csv                  on the published test set
  trueslice score FILE.csv --external NAME  on another set of params.yaml

FILE.csv has a column `path`, and `class`, the predicted one, or `probability_CLASS` for each class, or both; other
columns are ignored. The longest end of a path that is the end of a path of the data set says which scan it is.

A model that was trained on the published Training folder knows the copies of its scans and their patients: each row of
the result is one kind of scan, all its classes together and each alone. Intervals take patients as independent, or
copies of one scan where no patient is known.

Where patients are known and probabilities are given, each patient is scored too, by the mean over all distinct scans.
"""

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trueslice.commands.text import aligned, paragraph
from trueslice.copies import groups
from trueslice.errors import UserError
from trueslice.evaluate import patients
from trueslice.evaluate.intervals import SHARE, GroupBootstrap
from trueslice.files import printable, whole_file, write_json
from trueslice.patients.lookup import by_ending, path_parts
from trueslice.records.intervals import Score
from trueslice.records.patients import PatientGroup, PatientScores
from trueslice.tables.base import SHARE as SHARE_CELL
from trueslice.tables.base import read_cell
from trueslice.tables.external import ExternalPredictions
from trueslice.tables.predictions import Predictions
from trueslice.tables.rows import Rows, lacks, opened, shown
from trueslice.tables.scans import Scans

SCANS, EXTERNAL = "data/scans/scans.csv", "plots/external.csv"
PROBABILITY = "probability_"
ROUNDING = 0.006  # of a probability with two decimals
PROBABILITY_CELL = SHARE_CELL._replace(expected="a probability from 0 to 1; convert percentages and logits")


class Asked(NamedTuple):
    """The N scans that are to be predicted."""

    path: np.ndarray  # str [N]
    class_name: np.ndarray  # str [N]
    unit: np.ndarray  # int [N], the same for scans that are not independent
    parts: Mapping[str, np.ndarray]  # kinds of scans, bool [N] each
    class_names: tuple[str, ...]
    others: np.ndarray  # str, paths of scans of the same data that are not asked for
    group: np.ndarray  # int [N], as in `Predictions`, like the next two
    patient: np.ndarray  # str [N]
    exposure: np.ndarray  # str [N], if the model was trained on the published Training folder


class Answers(NamedTuple):
    """The answers of a model to the N scans."""

    class_name: np.ndarray  # str [N]
    probabilities: np.ndarray | None  # float64 [N, K], rows sum to 1; None where the file has none


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predictions", metavar="FILE.csv", type=Path, help="the predictions")
    parser.add_argument("--external", metavar="NAME", help="an external data set instead of the published test set")
    parser.add_argument("--scans", metavar="CSV", type=Path, help=f"in place of {SCANS}, or of {EXTERNAL}")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the result there too")


def run(options: argparse.Namespace) -> None:
    source = options.scans or Path(EXTERNAL if options.external else SCANS)
    if options.json and os.path.isfile(options.json):
        for given in (options.predictions, source):
            if os.path.exists(given) and os.path.samefile(options.json, given):
                raise UserError(f"--json names {given}, which is read; give another file")
    # Opened first, so that the work doesn't end at a place that can't be written to.
    with whole_file(options.json) if options.json else nullcontext() as new:
        asked, rows, patients = _run(options, source)
        if new:
            of_patients = patients and patients.model_dump(by_alias=True)
            write_json(new, {"predictions": options.predictions.name, "rows": rows, "patients": of_patients})
    _print(options.predictions, source, asked, rows)
    _print_patients(asked, patients)


def _run(options: argparse.Namespace, source: Path) -> tuple[Asked, list[dict], PatientScores | None]:
    try:
        asked = _external(source, options.external) if options.external else published(source)
    except OSError as error:
        problem = f"{printable(source)} cannot be read: {error.strerror}"
        raise UserError(f"{problem}; run the pipeline (make repro), or give another file by --scans") from None
    answers = read(options.predictions, asked)
    return asked, _score(asked, answers.class_name), _score_patients(asked, answers)


def published(source: Path) -> Asked:
    """Return the scans of the published test set; all scans, where there is none."""
    scans = Scans.read(source)
    is_test = scans.official_split == "test"
    asked = is_test if is_test.any() else np.ones(len(scans), bool)
    leaked = groups.leaked(scans)[asked]
    kinds = {"with a copy in Training": "copy", "with its patient in Training": "patient", "with neither": ""}
    own = scans.take(asked)
    unseen = np.where(own.patient == "", "unknown", "neither")
    return Asked(
        path=own.path,
        class_name=own.class_name,
        unit=groups.units(scans)[asked],
        parts={"all": np.ones(len(own), bool)} | {name: leaked == kind for name, kind in kinds.items()},
        class_names=tuple(np.unique(scans.class_name).tolist()),
        others=scans.path[~asked],
        group=own.group,
        patient=own.patient,
        exposure=np.where(leaked == "", unseen, leaked),
    )


def _external(source: Path, name: str) -> Asked:
    """Return the scans of an external data set."""
    table = ExternalPredictions.read(source)
    own = table.take(table.name == name)
    if len(own) == 0:
        known = ", ".join(np.unique(table.name)) or "none"
        raise UserError(f"{source} holds no data set called {name}, but: {known}")
    kinds = {"new": "", "a copy of a development scan": "development", "a copy within the set": "within"}
    return Asked(
        path=own.path,
        class_name=np.array(own.class_names)[own.y_true],
        unit=own.group,
        parts={"all": np.ones(len(own), bool)} | {part: own.dropped == kind for part, kind in kinds.items()},
        class_names=own.class_names,
        others=np.empty(0, str),
        group=own.group,
        patient=np.full(len(own), ""),
        exposure=np.full(len(own), "unknown"),
    )


def read(file: Path, asked: Asked) -> Answers:
    """Read the answer to each scan that is asked for.

    Raises:
        UserError: the file is missing or damaged, has other columns, or contradicts itself; a path or a class is
            unknown; a scan is missing, or there twice.
    """
    with opened(file) as rows:
        predicted = _predicted(rows, asked)
    if missing := [scan for scan in asked.path.tolist() if scan not in predicted]:
        problem = f"{len(missing):,} of {len(asked.path):,} scans are missing, such as {shown(missing[0])}"
        raise UserError(f"{printable(file)}: {problem}; predict them all")
    class_names, shares = zip(*(predicted[scan] for scan in asked.path.tolist()), strict=True)
    numbers = np.array(shares)
    return Answers(np.array(class_names), numbers / numbers.sum(axis=1, keepdims=True) if numbers.size else None)


def _predicted(rows: Rows, asked: Asked) -> dict[str, tuple[str, list[float]]]:
    """Return the class and the probabilities, if any, of each scan in the file, by its path in the data.

    ValueError as above.
    """
    _, header = next(rows)
    _check(header, asked.class_names)
    wanted = {*asked.path.tolist()}
    ends = by_ending(wanted.union(asked.others.tolist()))
    predicted: dict[str, tuple[str, list[float]]] = {}
    for line, cells in rows:
        row = dict(zip(header, cells, strict=True))
        try:
            scan = _scan(row["path"], ends)
            if scan not in wanted:
                raise ValueError(f"{shown(scan)} is not in the published test set; leave it out")
            if scan in predicted:
                raise ValueError(f"{shown(scan)} is there twice")
            predicted[scan] = _answer(row, asked.class_names)
        except ValueError as error:
            raise ValueError(f"line {line}: {error}") from None
    return predicted


def _check(header: Sequence[str], class_names: Sequence[str]) -> None:
    """Raise a ValueError unless the columns say which class each scan has; probabilities are there for all or none."""
    given = [name.removeprefix(PROBABILITY) for name in header if name.startswith(PROBABILITY)]
    if "path" not in header or not (given or "class" in header):
        raise lacks(header, f"path and class, or path and {PROBABILITY}CLASS for each class")
    for name in header:
        meant = name.strip().lower()
        if meant != name and not name.startswith(PROBABILITY) and (meant == "class" or meant.startswith(PROBABILITY)):
            raise ValueError(f"its column {shown(name)} would not count; write {shown(meant)}, or drop it")
    for name in given:
        _known(name, class_names)
    if missing := [name for name in class_names if given and name not in given]:
        raise ValueError(f"it has no column {PROBABILITY}{missing[0]}; give the probabilities of all classes, or none")


def _known(name: str, class_names: Sequence[str]) -> None:
    if name not in class_names:
        raise ValueError(f"{shown(name)} is none of the classes {', '.join(class_names)}")


def _scan(path: str, ends: Mapping[tuple[str, ...], Sequence[str]]) -> str:
    """Return the scan that the longest possible end of a path names."""
    parts = path_parts(path)
    found: Sequence[str] = []
    for count in range(1, len(parts) + 1):
        if parts[-count:] not in ends:
            break
        found = ends[parts[-count:]]
    if not found:
        raise ValueError(f"no scan is called {shown(path)}")
    if len(found) > 1:
        raise ValueError(f"{shown(path)} may be {shown(found[0])} or {shown(found[1])}; give more of the path")
    return found[0]


def _answer(row: Mapping[str, str], class_names: Sequence[str]) -> tuple[str, list[float]]:
    """Return the class that a row names, or that with the highest probability; and the probabilities, if it has any."""
    if "class" in row:
        _known(row["class"], class_names)
    titles = {name: PROBABILITY + name for name in class_names}
    if titles[class_names[0]] not in row:
        return row["class"], []
    numbers = {name: read_cell(row[title], title, PROBABILITY_CELL) for name, title in titles.items()}
    if abs((total := sum(numbers.values())) - 1) > ROUNDING * len(numbers):
        raise ValueError(f"the probabilities sum to {total:.6g}, and not to 1")
    highest = [name for name, number in numbers.items() if number == max(numbers.values())]
    if "class" not in row and len(highest) > 1:
        problem = f"the highest probability is that of {highest[0]} and of {highest[1]}"
        raise ValueError(f"{problem}; add a column class with the one that is predicted")
    given = row.get("class", highest[0])
    if given not in highest:
        raise ValueError(f"the class is {given}, but the highest probability is that of {highest[0]}")
    return given, [*numbers.values()]


def _score(asked: Asked, predicted: np.ndarray) -> list[dict]:
    bootstrap, correct = GroupBootstrap(asked.unit), predicted == asked.class_name
    rows = []
    for part, among in asked.parts.items():
        for name in (None, *asked.class_names):
            own = among if name is None else among & (asked.class_name == name)
            if own.any():
                row = {"part": part, "class": name, "scans": int(own.sum()), "units": len(np.unique(asked.unit[own]))}
                rows.append(row | bootstrap.share(correct, own).fields("accuracy", SHARE))
    return rows


def _score_patients(asked: Asked, answers: Answers) -> PatientScores | None:
    """Score each known patient by the mean probabilities, as they are given; None without probabilities."""
    if answers.probabilities is None:
        return None
    place = {name: index for index, name in enumerate(asked.class_names)}
    y_true, y_pred = (
        np.array([place[name] for name in names.tolist()]) for names in (asked.class_name, answers.class_name)
    )
    predictions = Predictions(
        class_names=asked.class_names,
        path=asked.path,
        pixel_hash=asked.path,
        group=asked.group,
        patient=asked.patient,
        unit=asked.unit,
        leaked=asked.exposure,
        exposure=asked.exposure,
        y_true=y_true,
        y_pred=y_pred,
        probabilities=answers.probabilities,
    )
    return patients.score(predictions, predictions.take(np.array([], int)), None)


def _print(file: Path, source: Path, asked: Asked, rows: Sequence[Mapping]) -> None:
    print(printable(f"{file} on {len(asked.path):,} scans of {source}"), end="\n\n")
    table = [("", "scans", "units", "accuracy", "95 % interval")]
    for row in rows:
        title = row["part"] if row["class"] is None else f"    {row['class']}"
        interval = row["reason"] or f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
        table.append((title, f"{row['scans']:,}", f"{row['units']:,}", f"{row['accuracy']:.1%}", interval))
    print(aligned(table, "<>>><"))


def _print_patients(asked: Asked, scores: PatientScores | None) -> None:
    if (asked.patient == "").all():
        too_narrow = "No patient is known: where one has several scans, the intervals are too narrow."
        print("\n" + paragraph(too_narrow, "Nothing is scored per patient."))
        return
    if scores is None:
        print("\nPatients are known: to score each, give the probabilities of all classes.")
        return
    print(f"\nEach patient, by the mean probability of all distinct scans (up to {scores.most_scans}):\n")
    print(aligned([("", "patients", "accuracy", "95 % interval"), *_patient_rows(scores)], "<>><"))
    telling = " and ".join(f"{row.class_name} (AUROC {row.value:.3f})" for row in scores.telling)
    sentences = [
        f"Not scored: {scores.reason}." if scores.reason else None,
        f"Left out, with scans of several classes: {left_out:,}." if (left_out := scores.patients_left_out) else None,
        f"The number of scans alone tells {telling} from the others." if telling else None,
    ]
    if any(sentences):
        print("\n" + paragraph(*sentences))


def _patient_rows(scores: PatientScores) -> Iterator[tuple[str, str, str, str]]:
    """Yield the cells of the table: rows of patients, number of them, accuracy and interval."""
    titles = {
        "accuracy": "all",
        "accuracy_of_few_scans": "    by three scans, drawn at random",
        "accuracy_of_one_scan": "    by one scan, drawn at random",
    }
    rows = [(title, scores.patients, scores.find(name)) for name, title in titles.items()]
    rows += [(f"    {row.class_name}", row.patients, scores.find("recall", row.class_name)) for row in scores.classes]
    for title, count, row in rows:
        if count:
            yield title, f"{count:,}", f"{row.value:.1%}", _ends(row)
    seen = {"copy": "with a copy in Training", "patient": "with other scans in Training", "neither": "with neither"}
    for group in scores.groups:
        title = seen[group.value] if group.by == "exposure" else f"distinct scans: {group.value}"
        yield title, f"{group.patients:,}", f"{group.accuracy:.1%}", _ends(group)


def _ends(row: Score | PatientGroup) -> str:
    return row.reason or "–" if row.low is None or row.high is None else f"{100 * row.low:.1f} to {100 * row.high:.1f}"
