"""The tables that pass between stages: the only place that knows their columns.

A table is a frozen dataclass whose columns are arrays with one entry per row. `write` makes a CSV file of it, `read`
and `parse` bring it back:

    scans = Scans.read(Path("data/scans/scans.csv"))
    scans.path[scans.class_name == "glioma"]
    scans.take(scans.official_split == "test").write(Path("test.csv"))
"""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from tumorclip.files import whole_file


class Kind(NamedTuple):
    """How a cell of a column is read and written, what type its array has, and what a wrong cell is told to be."""

    dtype: type
    read: Callable[[str], Any]
    write: Callable[[Any], str]
    expected: str


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


TEXT = Kind(str, str, str, "text")
WHOLE = Kind(np.int64, int, str, "a whole number")
FLAG = Kind(bool, lambda text: {"0": False, "1": True}[text], lambda flag: str(int(flag)), "0 or 1")
SIX_DECIMALS = Kind(np.float64, float, "{:.6f}".format, "a number")
# 9 digits bring any float32 back to the same bits.
NUMBER = Kind(np.float64, float, "{:.9g}".format, "a number")
SHARE = Kind(np.float64, _share, "{:.9g}".format, "a number from 0 to 1")
# In the file the name of a class, in the array its index in `class_names`.
CLASS = "class"


def column(kind: "Kind | str", name: str | None = None) -> Any:
    """A column of `kind`; in the file it is called `name`, or like the field."""
    return field(metadata={"kind": kind, "name": name, "per_class": False})


def per_class(kind: Kind, prefix: str) -> Any:
    """K columns, one for each class, called `prefix` and the name of the class: an array [N, K]."""
    return field(metadata={"kind": kind, "name": prefix, "per_class": True})


@dataclass(frozen=True)
class Table:
    """What all tables can do."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[-1].name))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a CSV file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: as `parse` raises it.
        """
        return cls.parse(path.read_text(encoding="utf-8"))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Make a table of the text of a CSV file; columns that it doesn't know are passed over.

        Raises:
            ValueError: a column is missing, or a cell is not of its kind; the message names column and line.
        """
        reader = csv.reader(io.StringIO(text, newline=""))
        header = next(reader, [])
        rows = list(reader)
        for line, row in enumerate(rows, start=2):
            if len(row) != len(header):
                raise ValueError(f"line {line} has another number of columns than the first")
        cells = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else {name: () for name in header}
        values: dict[str, Any] = {}
        for each in cls._columns():
            kind, name = each.metadata["kind"], each.metadata["name"] or each.name
            if each.metadata["per_class"]:
                names = [title for title in header if title.startswith(name)]
                values.setdefault("class_names", tuple(title.removeprefix(name) for title in names))
                wanted = [name + class_name for class_name in values["class_names"]]
                columns = [_cells(cells, title, kind) for title in wanted]
                values[each.name] = np.stack(columns, axis=1) if columns else np.empty((len(rows), 0))
            elif kind == CLASS:
                indices = {class_name: str(index) for index, class_name in enumerate(values["class_names"])}
                known = Kind(np.int64, lambda text, indices=indices: int(indices[text]), str, "the name of a class")
                values[each.name] = _cells(cells, name, known)
            else:
                values[each.name] = _cells(cells, name, kind)
        return cls(**values)

    def write(self, path: Path) -> None:
        """Write a CSV file, whole or not at all."""
        with whole_file(path) as beside:
            beside.write_text(self.text(), encoding="utf-8", newline="")

    def text(self) -> str:
        """The content of the CSV file."""
        titles, columns = [], []
        for each in self._columns(in_file_order=True):
            kind, name, values = each.metadata["kind"], each.metadata["name"] or each.name, getattr(self, each.name)
            if each.metadata["per_class"]:
                titles += [name + class_name for class_name in self.class_names]
                columns += [map(kind.write, one.tolist()) for one in values.T]
            elif kind == CLASS:
                titles.append(name)
                columns.append(self.class_names[index] for index in values.tolist())
            else:
                titles.append(name)
                columns.append(map(kind.write, values.tolist()))
        file = io.StringIO(newline="")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(titles)
        writer.writerows(zip(*columns, strict=True))
        return file.getvalue()

    def take(self, rows: np.ndarray) -> Self:
        """The table of some rows: bool [N], or int [n] in their order."""
        return replace(self, **{each.name: getattr(self, each.name)[rows] for each in self._columns()})

    @classmethod
    def _columns(cls, in_file_order: bool = False) -> list:
        columns = [each for each in fields(cls) if "kind" in each.metadata]
        # Columns of class names can only be read once the classes are known.
        return columns if in_file_order else sorted(columns, key=lambda each: not each.metadata["per_class"])


def _cells(cells: dict[str, tuple[str, ...]], name: str, kind: Kind) -> np.ndarray:
    if name not in cells:
        raise ValueError(f"it has no column {name}")
    result = []
    for line, text in enumerate(cells[name], start=2):
        try:
            result.append(kind.read(text))
        except (ValueError, KeyError):
            raise ValueError(f"{text!r} in line {line}, column {name}, is not {kind.expected}") from None
    return np.array(result, dtype=kind.dtype)


@dataclass(frozen=True)
class Scans(Table):
    """Decoded scans, in the order of data/scans/pixels.npy: data/scans/scans.csv.

    Attributes:
        path: relative to data/raw, with forward slashes.
        class_name: the folder it lies in.
        official_split: `train`, `test`, or empty where the source comes without a test set.
        width, height: pixels as seen, after EXIF orientation.
        mode: Pillow's mode of the file.
        pixel_hash: start of the SHA-256 over shape and pixels at full size.
        group: the same for copies of each other, the row number of the first of them.
        best_match: correlation with the scan most like it, as they lie best, without alignment; 1 for an exact copy.
    """

    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    official_split: np.ndarray = column(TEXT)
    width: np.ndarray = column(WHOLE)
    height: np.ndarray = column(WHOLE)
    mode: np.ndarray = column(TEXT)
    pixel_hash: np.ndarray = column(TEXT)
    group: np.ndarray = column(WHOLE)
    best_match: np.ndarray = column(SIX_DECIMALS)


@dataclass(frozen=True)
class Pairs(Table):
    """Copies of each other: data/scans/pairs.csv. Rows a < b of scans.csv, how b lies, and how much both correlate."""

    a: np.ndarray = column(WHOLE)
    b: np.ndarray = column(WHOLE)
    kind: np.ndarray = column(TEXT)
    correlation: np.ndarray = column(SIX_DECIMALS)


@dataclass(frozen=True)
class Groups(Table):
    """Groups of copies, the most doubtful first: data/scans/groups.csv.

    Each with its number of files and the pair in it that correlates least, as in `Pairs`.
    """

    group: np.ndarray = column(WHOLE)
    files: np.ndarray = column(WHOLE)
    a: np.ndarray = column(WHOLE)
    b: np.ndarray = column(WHOLE)
    kind: np.ndarray = column(TEXT)
    lowest_correlation: np.ndarray = column(SIX_DECIMALS)


@dataclass(frozen=True)
class Conflicts(Table):
    """Scans whose copies stand under another class, as in `Scans`: data/scans/conflicts.csv."""

    group: np.ndarray = column(WHOLE)
    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    official_split: np.ndarray = column(TEXT)


@dataclass(frozen=True)
class Splits(Table):
    """Where each scan stands: data/splits.csv, in the order of scans.csv.

    Attributes:
        path, class_name, pixel_hash, group: as in `Scans`.
        split: `train`, `val`, `test` or `dropped`.
        reason: why it was dropped; empty elsewhere.
        leaked: whether it is of the published test set and has a copy in the published Training folder.
    """

    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    pixel_hash: np.ndarray = column(TEXT)
    group: np.ndarray = column(WHOLE)
    split: np.ndarray = column(TEXT)
    reason: np.ndarray = column(TEXT)
    leaked: np.ndarray = column(FLAG)


@dataclass(frozen=True)
class Predictions(Table):
    """What is said of N test scans among K classes.

    Attributes:
        path, pixel_hash, group, leaked: as in `Splits`.
        exposed: whether a copy was trained on or validated on.
        y_true, y_pred: class index; y_pred has the highest probability, among equals the first.
        probabilities: [N, K], rows sum to 1; of the fine-tuned model after temperature.
        class_names: K of them, in the order of the class indices.
    """

    class_names: tuple[str, ...]
    path: np.ndarray = column(TEXT)
    pixel_hash: np.ndarray = column(TEXT)
    group: np.ndarray = column(WHOLE)
    leaked: np.ndarray = column(FLAG)
    exposed: np.ndarray = column(FLAG)
    y_true: np.ndarray = column(CLASS)
    y_pred: np.ndarray = column(CLASS)
    probabilities: np.ndarray = per_class(SHARE, "probability_")


@dataclass(frozen=True)
class BaselinePredictions(Predictions):
    """Those of every baseline, one after another: data/baselines.csv."""

    baseline: np.ndarray = column(TEXT)


@dataclass(frozen=True)
class ModelPredictions(Predictions):
    """Those of the fine-tuned model: plots/predictions.csv, from which every number of a run follows.

    Attributes:
        logits: [N, K], before temperature.
        upside_down: class index predicted for the scan turned upside down.
        similarity: correlation with the training scan most like it, as both lie best.
    """

    logits: np.ndarray = per_class(NUMBER, "logit_")
    upside_down: np.ndarray = column(CLASS)
    similarity: np.ndarray = column(SIX_DECIMALS)


@dataclass(frozen=True)
class Steps(Table):
    """The training step by step: plots/steps.csv. `mean_loss` is the running mean of `loss`, in nats."""

    step: np.ndarray = column(WHOLE)
    loss: np.ndarray = column(NUMBER)
    mean_loss: np.ndarray = column(NUMBER)
    learning_rate: np.ndarray = column(NUMBER)
