"""The tables that pass between stages: the only place that knows their columns.

A table is a frozen dataclass whose columns are arrays with one entry per row. `write` makes a CSV file of it, `read`
and `parse` bring it back:

    scans = Scans.read(Path("data/scans/scans.csv"))
    scans.path[scans.class_name == "glioma"]
    scans.take(scans.official_split == "test").write(Path("test.csv"))
"""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from tumorclip.errors import UserError
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


def _one_of(*words: str) -> Kind:
    return Kind(str, {word: word for word in words}.__getitem__, str, " or ".join(word or "empty" for word in words))


TEXT = Kind(str, str, str, "text")
LEAK = _one_of("", "copy", "patient")
EXPOSURE = _one_of("copy", "patient", "neither", "unknown")
WHOLE = Kind(np.int64, int, str, "a whole number")
FOUR_DECIMALS = Kind(np.float64, float, "{:.4f}".format, "a number")
SIX_DECIMALS = Kind(np.float64, float, "{:.6f}".format, "a number")
# 9 digits bring any float32 back to the same bits.
NUMBER = Kind(np.float64, float, "{:.9g}".format, "a number")
SHARE = Kind(np.float64, _share, "{:.9g}".format, "a number from 0 to 1")
# In the file the name of a class, in the array its index in `class_names`.
CLASS = "class"


def column(kind: "Kind | str", name: str | None = None, per_class: bool = False) -> Any:
    """A column of `kind`; in the file it is called `name`, or like the field.

    With `per_class` K columns, one for each class, called `name` and the name of the class: an array [N, K].
    """
    return field(metadata={"kind": kind, "name": name, "per_class": per_class})


@dataclass(frozen=True)
class Table:
    """What all tables can do."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[-1].name))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a CSV file; a damaged one is a UserError."""
        try:
            return cls.parse(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path} is damaged: {error}; `dvc repro` writes it again") from None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Make a table of the text of a CSV file; columns that it doesn't know are passed over.

        Raises:
            ValueError: a column is missing, or a cell is not of its kind; the message names column and line.
        """
        header, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
        for line, row in enumerate(rows, start=2):
            if len(row) != len(header):
                raise ValueError(f"line {line} has another number of columns than the first")
        cells = {name: [row[place] for row in rows] for place, name in enumerate(header)}
        values: dict[str, Any] = {}
        # Columns of class names can only be read once the classes are known.
        for each in sorted(cls._columns(), key=lambda each: not each.metadata["per_class"]):
            kind, name = each.metadata["kind"], each.metadata["name"] or each.name
            if each.metadata["per_class"]:
                names = tuple(title.removeprefix(name) for title in header if title.startswith(name))
                values.setdefault("class_names", names)
                columns = [_cells(cells, name + class_name, kind) for class_name in values["class_names"]]
                values[each.name] = np.stack(columns, axis=1) if columns else np.empty((len(rows), 0))
            else:
                if kind == CLASS:
                    kind = Kind(np.int64, values["class_names"].index, str, "the name of a class")
                values[each.name] = _cells(cells, name, kind)
        return cls(**values)

    def write(self, path: Path) -> None:
        """Write a CSV file, whole or not at all."""
        with whole_file(path) as beside:
            beside.write_text(self.text(), encoding="utf-8", newline="")

    def text(self) -> str:
        """The content of the CSV file."""
        columns = {}
        for each in self._columns():
            kind, name, values = each.metadata["kind"], each.metadata["name"] or each.name, getattr(self, each.name)
            if each.metadata["per_class"]:
                for class_name, numbers in zip(self.class_names, values.T.tolist(), strict=True):
                    columns[name + class_name] = map(kind.write, numbers)
            else:
                write = self.class_names.__getitem__ if kind == CLASS else kind.write
                columns[name] = map(write, values.tolist())
        file = io.StringIO(newline="")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        return file.getvalue()

    def take(self, rows: np.ndarray) -> Self:
        """The table of some rows: bool [N], or int [n] in their order."""
        return replace(self, **{each.name: getattr(self, each.name)[rows] for each in self._columns()})

    @classmethod
    def concatenate(cls, tables: Sequence[Self]) -> Self:
        """The rows of tables one after another; their classes are those of the first."""
        names = [each.name for each in cls._columns()]
        columns = {name: np.concatenate([getattr(table, name) for table in tables]) for name in names}
        return replace(tables[0], **columns)

    @classmethod
    def _columns(cls) -> list:
        return [each for each in fields(cls) if "kind" in each.metadata]


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


def natural(path: str) -> list[tuple[bool, int, str]]:
    """Sorts file names with numbers by value, so that 2 stands before 10; a number stands before text."""
    pieces = re.split(r"([0-9]+)", path.rsplit("/", 1)[-1])
    return [(False, int(piece), piece) if piece.isdigit() else (True, 0, piece) for piece in pieces if piece]


@dataclass(frozen=True)
class Scans(Table):
    """Decoded scans, in the order of data/scans/pixels.npy: data/scans/scans.csv."""

    path: np.ndarray = column(TEXT)  # relative to data/raw, with forward slashes
    class_name: np.ndarray = column(TEXT, "class")  # the folder it lies in
    official_split: np.ndarray = column(TEXT)  # `train`, `test`, or empty where the source comes without a test set
    width: np.ndarray = column(WHOLE)  # pixels as seen, after EXIF orientation
    height: np.ndarray = column(WHOLE)
    mode: np.ndarray = column(TEXT)  # Pillow's, of the file
    pixel_hash: np.ndarray = column(TEXT)  # start of the SHA-256 over shape and pixels at full size
    group: np.ndarray = column(WHOLE)  # the same for copies of each other, the row number of the first of them
    # As a table of patients says; empty where that is unknown.
    patient: np.ndarray = column(TEXT)
    source: np.ndarray = column(TEXT)  # the collection that the scan was taken from
    source_class: np.ndarray = column(TEXT)  # its class there, by the names of `classes`
    plane: np.ndarray = column(TEXT)  # such as axial
    # Correlation with the scan most like it, as they lie best, without alignment; 1 for an exact copy.
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
    """Groups of copies and the pair in each that correlates least, the lowest first: data/scans/groups.csv."""

    group: np.ndarray = column(WHOLE)
    files: np.ndarray = column(WHOLE)
    a: np.ndarray = column(WHOLE)
    b: np.ndarray = column(WHOLE)
    kind: np.ndarray = column(TEXT)
    lowest_correlation: np.ndarray = column(SIX_DECIMALS)


@dataclass(frozen=True)
class Conflicts(Table):
    """Scans whose copies or whose source give another class, as in `Scans`: data/scans/conflicts.csv."""

    group: np.ndarray = column(WHOLE)
    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    source_class: np.ndarray = column(TEXT)
    official_split: np.ndarray = column(TEXT)


@dataclass(frozen=True)
class Splits(Table):
    """Where each scan stands: data/splits.csv, in the order of scans.csv, and as in `Scans`."""

    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    pixel_hash: np.ndarray = column(TEXT)
    group: np.ndarray = column(WHOLE)
    patient: np.ndarray = column(TEXT)
    # What counts as independent of all else: the scans of a patient and all copies of them, or, where no patient is
    # known, copies of each other. The row number of the first of them.
    unit: np.ndarray = column(WHOLE)
    split: np.ndarray = column(TEXT)  # `train`, `val`, `test` or `dropped`
    reason: np.ndarray = column(TEXT)  # why it was dropped; empty elsewhere
    # Of the published test set: `copy` with a copy in the published Training folder, `patient` without a copy but with
    # the same patient there; else empty.
    leaked: np.ndarray = column(LEAK)

    def columns_of(self, part: str, class_names: Sequence[str]) -> dict[str, Any]:
        """What `Predictions` holds of the scans of one part, such as `test`, before anything is predicted, by field.

        Raises:
            ValueError: one of these scans is of a class that is not among `class_names`.
        """
        own = self.take(self.split == part)
        return {name: getattr(own, name) for name in ("path", "pixel_hash", "group", "patient", "unit", "leaked")} | {
            "class_names": tuple(class_names),
            "exposure": self._exposure(own, part),
            "y_true": np.array([class_names.index(name) for name in own.class_name], dtype=int),
        }

    def _exposure(self, own: "Splits", part: str) -> np.ndarray:
        fitted = self.take(np.isin(self.split, ["train", "val"]) & (self.split != part))
        # A copy of a patient's scan is the patient's too, and a unit of no patient is a group of copies.
        is_known = np.isin(own.unit, self.unit[self.patient != ""])
        cases = [np.isin(own.group, fitted.group), np.isin(own.unit, fitted.unit), is_known]
        return np.select(cases, ["copy", "patient", "neither"], "unknown")


@dataclass(frozen=True)
class Predictions(Table):
    """What is said of N test scans among K classes; the first columns are as in `Splits`."""

    class_names: tuple[str, ...]  # K of them, in the order of the class indices
    path: np.ndarray = column(TEXT)
    pixel_hash: np.ndarray = column(TEXT)
    group: np.ndarray = column(WHOLE)
    patient: np.ndarray = column(TEXT)
    unit: np.ndarray = column(WHOLE)
    leaked: np.ndarray = column(LEAK)
    # What the model was trained or validated on (of a validation scan: trained on): a `copy` of the scan, another scan
    # of its `patient`, `neither`, or `unknown` without a copy and without a known patient.
    exposure: np.ndarray = column(EXPOSURE)
    y_true: np.ndarray = column(CLASS)  # class index
    y_pred: np.ndarray = column(CLASS)  # the class of the highest probability, among equals the first
    # [N, K], rows sum to 1; of the fine-tuned model after temperature.
    probabilities: np.ndarray = column(SHARE, "probability_", per_class=True)


@dataclass(frozen=True)
class BaselinePredictions(Predictions):
    """Those of every baseline, one after another: data/baselines.csv."""

    baseline: np.ndarray = column(TEXT)


@dataclass(frozen=True)
class ModelPredictions(Predictions):
    """Those of the fine-tuned model: plots/predictions.csv, from which every number of a run follows."""

    logits: np.ndarray = column(NUMBER, "logit_", per_class=True)  # [N, K], before temperature
    upside_down: np.ndarray = column(CLASS)  # class index predicted for the scan turned upside down
    similarity: np.ndarray = column(SIX_DECIMALS)  # correlation with the training scan most like it, as both lie best


@dataclass(frozen=True)
class ExternalPredictions(Table):
    """What the fine-tuned model says of the scans of other data sets, one after another: plots/external.csv."""

    class_names: tuple[str, ...]  # as in `Predictions`
    name: np.ndarray = column(TEXT, "set")  # of the data set
    path: np.ndarray = column(TEXT)  # in the data set
    pixel_hash: np.ndarray = column(TEXT)
    # The same for copies of each other within the data set, the number of the first of them there.
    group: np.ndarray = column(WHOLE)
    # Why it is not scored: `development` as a copy of a scan of the data set that the model was developed on, `within`
    # as a copy of an earlier scan of its own data set; empty where it is scored.
    dropped: np.ndarray = column(TEXT)
    y_true: np.ndarray = column(CLASS)
    y_pred: np.ndarray = column(CLASS)
    probabilities: np.ndarray = column(SHARE, "probability_", per_class=True)

    @classmethod
    def empty(cls, class_names: Sequence[str]) -> Self:
        """A table without rows."""
        text, whole = np.empty(0, str), np.empty(0, int)
        return cls(tuple(class_names), text, text, text, whole, text, whole, whole, np.empty((0, len(class_names))))


@dataclass(frozen=True)
class Explanations(Table):
    """How well the explanations of test scans point at their tumours, where a mask is known: data/explanations.csv.

    Each comparison has a score of pointing, 0 or 1 or a probability, and the energy, both from 0 to 1.
    """

    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    predicted: np.ndarray = column(TEXT)  # the class that is explained
    unit: np.ndarray = column(WHOLE)  # as in `Predictions`
    area: np.ndarray = column(NUMBER)  # of the tumour, as a share of the head
    pointing: np.ndarray = column(SHARE)
    energy: np.ndarray = column(SHARE)
    uniform: np.ndarray = column(SHARE)  # a point anywhere in the head, and a map that is even over it
    # The same map against the masks of other patients of the class.
    other_pointing: np.ndarray = column(SHARE)
    other_energy: np.ndarray = column(SHARE)
    fixed_point: np.ndarray = column(SHARE)  # the point that is tumour most often in training and validation scans
    # The same method on the same model with its weights in random order.
    random_pointing: np.ndarray = column(SHARE)
    random_energy: np.ndarray = column(SHARE)
    # The best that the grid of the model allows.
    ceiling_pointing: np.ndarray = column(SHARE)
    ceiling_energy: np.ndarray = column(SHARE)

    @classmethod
    def empty(cls) -> Self:
        """A table without rows."""
        return cls(**{each.name: np.empty(0, each.metadata["kind"].dtype) for each in cls._columns()})


@dataclass(frozen=True)
class Examples(Table):
    """Test scans to look at, with the training scans most like them to the model: data/examples.csv."""

    kind: np.ndarray = column(_one_of("mistake", "hit", "example"))  # a confident mistake, a doubtful hit, or any
    row: np.ndarray = column(WHOLE)  # of plots/predictions.csv and of data/explanations.npy
    scan: np.ndarray = column(WHOLE)  # of scans.csv, as the following
    nearest_1: np.ndarray = column(WHOLE)
    nearest_2: np.ndarray = column(WHOLE)
    nearest_3: np.ndarray = column(WHOLE)
    class_name: np.ndarray = column(TEXT, "class")
    predicted: np.ndarray = column(TEXT)
    probability: np.ndarray = column(SHARE)  # of the predicted class


@dataclass(frozen=True)
class Steps(Table):
    """The training step by step: plots/steps.csv. `mean_loss` is the running mean of `loss`, in nats."""

    step: np.ndarray = column(WHOLE)
    loss: np.ndarray = column(NUMBER)
    mean_loss: np.ndarray = column(NUMBER)
    learning_rate: np.ndarray = column(NUMBER)


@dataclass(frozen=True)
class KnownScans(Table):
    """The scans that a released model was made and tested with, as in `Splits`: reference.csv in its folder."""

    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    split: np.ndarray = column(TEXT)  # `train`, `val` or `test`
    unit: np.ndarray = column(WHOLE)


@dataclass(frozen=True)
class EmbeddingMap(Table):
    """Where the model places the known scans, on a plane: plots/embedding.csv."""

    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    split: np.ndarray = column(TEXT)  # `train`, `val` or `test`
    y_pred: np.ndarray = column(TEXT)  # class predicted for a test scan; empty for others
    x: np.ndarray = column(FOUR_DECIMALS)  # first and second principal component
    y: np.ndarray = column(FOUR_DECIMALS)
