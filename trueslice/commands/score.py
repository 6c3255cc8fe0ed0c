"""Score the predictions of any model, and show which scans that model may have seen.

  trueslice score FILE.csv                  on the published test set
  trueslice score FILE.csv --external NAME  on another set of params.yaml

FILE.csv has a column `path` and either `class`, the predicted one, or `probability_CLASS` for each class; other columns
are ignored. A path is one of the data set, or ends in a file name that only one scan there has.

A model that was trained on the published Training folder knows the copies of its scans and their patients: each row of
the result is one kind of scan, all its classes together and each alone. Intervals take patients as independent, or
copies of one scan where no patient is known.
"""

import argparse
import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trueslice.commands.text import aligned
from trueslice.copies import groups
from trueslice.errors import UserError
from trueslice.evaluate.intervals import SHARE, GroupBootstrap
from trueslice.files import write_json
from trueslice.tables.external import ExternalPredictions
from trueslice.tables.scans import Scans

SCANS, EXTERNAL = "data/scans/scans.csv", "plots/external.csv"
PROBABILITY = "probability_"


class Asked(NamedTuple):
    """The N scans that are to be predicted."""

    path: np.ndarray  # str [N]
    class_name: np.ndarray  # str [N]
    unit: np.ndarray  # int [N], the same for scans that are not independent
    parts: Mapping[str, np.ndarray]  # kinds of scans, bool [N] each
    class_names: tuple[str, ...]
    others: np.ndarray  # str, paths of scans of the same data that are not asked for
    patients_known: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predictions", metavar="FILE.csv", type=Path, help="the predictions")
    parser.add_argument("--external", metavar="NAME", help="an external data set instead of the published test set")
    parser.add_argument("--scans", metavar="CSV", type=Path, help=f"in place of {SCANS}, or of {EXTERNAL}")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the result there too")


def run(options: argparse.Namespace) -> None:
    source = options.scans or Path(EXTERNAL if options.external else SCANS)
    if not source.exists():
        raise UserError(f"{source} does not exist; run the pipeline (make repro), or give another file by --scans")
    asked = _external(source, options.external) if options.external else _published(source)
    predicted = _read(options.predictions, asked)
    rows = _score(asked, predicted)
    _print(options.predictions, source, asked, rows)
    if options.json:
        write_json(options.json, {"predictions": options.predictions.name, "rows": rows})


def _published(source: Path) -> Asked:
    """Return the scans of the published test set; all scans, where there is none."""
    scans = Scans.read(source)
    is_test = scans.official_split == "test"
    asked = is_test if is_test.any() else np.ones(len(scans), bool)
    leaked = groups.leaked(scans)[asked]
    kinds = {"with a copy in Training": "copy", "with its patient in Training": "patient", "with neither": ""}
    own = scans.take(asked)
    return Asked(
        path=own.path,
        class_name=own.class_name,
        unit=groups.units(scans)[asked],
        parts={"all": np.ones(len(own), bool)} | {name: leaked == kind for name, kind in kinds.items()},
        class_names=tuple(np.unique(scans.class_name).tolist()),
        others=scans.path[~asked],
        patients_known=bool((own.patient != "").any()),
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
        patients_known=False,
    )


def _read(file: Path, asked: Asked) -> np.ndarray:
    """Read the predicted class of each scan that is asked for: str [N].

    Raises:
        UserError: the file is missing or damaged; or a path or a class is unknown, or a scan is missing or
            there twice.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} cannot be read as a CSV file ({error})") from None
    places = _places(asked)
    predicted: dict[int, str] = {}
    for line, row in enumerate(rows, start=2):
        try:
            place = _place(row.get("path"), places)
            if place in predicted:
                raise ValueError(f"{row['path']} is there twice")
            predicted[place] = _class(row, asked.class_names)
        except ValueError as error:
            raise UserError(f"{file}, line {line}: {error}") from None
    if missing := sorted(set(range(len(asked.path))) - predicted.keys()):
        problem = f"{len(missing):,} of {len(asked.path):,} scans are missing, such as {asked.path[missing[0]]}"
        raise UserError(f"{file}: {problem}; predict them all")
    return np.array([predicted[place] for place in range(len(asked.path))])


def _places(asked: Asked) -> dict[str, int | None]:
    """Return the row of each scan, None if it is not asked for, by its path, and by its file name if that is unique."""
    paths = [*asked.path.tolist(), *asked.others.tolist()]
    places = [*range(len(asked.path)), *[None] * len(asked.others)]
    names = [path.rsplit("/", 1)[-1] for path in paths]
    counts = Counter(names)
    unique = {name: place for name, place in zip(names, places, strict=True) if counts[name] == 1}
    return unique | dict(zip(paths, places, strict=True))


def _place(path: str | None, places: Mapping[str, int | None]) -> int:
    if path is None:
        raise ValueError("there is no column `path`")
    key = path if path in places else re.split(r"[/\\]", path)[-1]
    if key not in places:
        raise ValueError(f"no scan is called {path}, or several are")
    place = places[key]
    if place is None:
        raise ValueError(f"{path} is not in the published test set; leave it out")
    return place


def _class(row: Mapping[str, str], class_names: Sequence[str]) -> str:
    """Return the class that a row of the file names, or the class with the highest probability."""
    given = {name.removeprefix(PROBABILITY): text for name, text in row.items() if (name or "").startswith(PROBABILITY)}
    if not given and row.get("class") is None:
        raise ValueError(f"there is neither a column `class` nor one `{PROBABILITY}CLASS`")
    if unknown := sorted({*(given or [row["class"]])} - {*class_names}):
        raise ValueError(f"{unknown[0]!r} is none of the classes {', '.join(class_names)}")
    if not given:
        return row["class"]
    try:
        numbers = {name: float(text) for name, text in given.items()}
    except (TypeError, ValueError):
        raise ValueError("a probability is not a number") from None
    if not np.isfinite(list(numbers.values())).all():
        raise ValueError("a probability is not a finite number")
    return max(numbers, key=numbers.__getitem__)


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


def _print(file: Path, source: Path, asked: Asked, rows: Sequence[Mapping]) -> None:
    print(f"{file} on {len(asked.path):,} scans of {source}\n")
    table = [("", "scans", "units", "accuracy", "95 % interval")]
    for row in rows:
        title = row["part"] if row["class"] is None else f"    {row['class']}"
        interval = row["reason"] or f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
        table.append((title, f"{row['scans']:,}", f"{row['units']:,}", f"{row['accuracy']:.1%}", interval))
    print(aligned(table, "<>>><"))
    if not asked.patients_known:
        print("\nNo patient is known: where one has several scans, the intervals are too narrow.")
