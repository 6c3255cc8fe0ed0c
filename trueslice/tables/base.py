"""Tables as CSV files, with typed columns.

A table is a frozen dataclass whose columns are arrays with one entry per row:

    scans = Scans.read(Path("data/scans/scans.csv"))
    scans.path[scans.class_name == "glioma"]
    scans.take(scans.official_split == "test").write(Path("test.csv"))
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from trueslice.errors import UserError
from trueslice.files import whole_file


class Kind(NamedTuple):
    """Type of a column."""

    dtype: type  # of its array
    read: Callable[[str], Any]  # a cell; ValueError or KeyError where that is not of this kind
    write: Callable[[Any], str]
    expected: str  # for the message about a wrong cell


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def one_of(*words: str) -> Kind:
    """Return the kind of a column that holds some words only."""
    return Kind(str, {word: word for word in words}.__getitem__, str, " or ".join(word or "empty" for word in words))


TEXT = Kind(str, str, str, "text")

LEAK = one_of("", "copy", "patient")

EXPOSURE = one_of("copy", "patient", "neither", "unknown")

WHOLE = Kind(np.int64, int, str, "a whole number")

FOUR_DECIMALS = Kind(np.float64, float, "{:.4f}".format, "a number")

SIX_DECIMALS = Kind(np.float64, float, "{:.6f}".format, "a number")

# 9 digits bring any float32 back to the same bits.
NUMBER = Kind(np.float64, float, "{:.9g}".format, "a number")

SHARE = Kind(np.float64, _share, "{:.9g}".format, "a number from 0 to 1")

# In the file the name of a class, in the array its index in `class_names`.
CLASS = "class"


def column(kind: Kind | str, name: str | None = None, per_class: bool = False) -> Any:
    """Declare a column of `kind`; in the file it is called `name`, or like the field.

    With `per_class` it means K columns, one for each class, called `name` and the name of the class; the array is
    [N, K].
    """
    return field(metadata={"kind": kind, "name": name, "per_class": per_class})


@dataclass(frozen=True)
class Table:
    """A table of N rows, whose fields with a kind are its columns."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[-1].name))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a CSV file.

        Raises:
            UserError: it is damaged.
            OSError: it cannot be read.
        """
        try:
            return cls.parse(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path} is damaged: {error}; `dvc repro` writes it again") from None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Convert the text of a CSV file; unknown columns are skipped.

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
        with whole_file(path) as new:
            new.write_text(self.text(), encoding="utf-8", newline="")

    def text(self) -> str:
        """Return the content of the CSV file."""
        columns = {}
        class_names: tuple[str, ...] = getattr(self, "class_names", ())
        for each in self._columns():
            kind, name, values = each.metadata["kind"], each.metadata["name"] or each.name, getattr(self, each.name)
            if each.metadata["per_class"]:
                for class_name, numbers in zip(class_names, values.T.tolist(), strict=True):
                    columns[name + class_name] = map(kind.write, numbers)
            else:
                write = class_names.__getitem__ if kind == CLASS else kind.write
                columns[name] = map(write, values.tolist())
        file = io.StringIO(newline="")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        return file.getvalue()

    def take(self, rows: np.ndarray) -> Self:
        """Return the table of some rows: bool [N], or int [n] in their order."""
        return replace(self, **{each.name: getattr(self, each.name)[rows] for each in self._columns()})

    @classmethod
    def concatenate(cls, tables: Sequence[Self]) -> Self:
        """Join tables row by row; their classes are those of the first."""
        names = [each.name for each in cls._columns()]
        columns = {name: np.concatenate([getattr(table, name) for table in tables]) for name in names}
        return replace(tables[0], **columns)

    @classmethod
    def _columns(cls) -> list:
        return [each for each in fields(cls) if "kind" in each.metadata]


def _cells(cells: Mapping[str, Sequence[str]], name: str, kind: Kind) -> np.ndarray:
    if name not in cells:
        raise ValueError(f"it has no column {name}")
    result = []
    for line, text in enumerate(cells[name], start=2):
        try:
            result.append(kind.read(text))
        except (ValueError, KeyError):
            raise ValueError(f"{text!r} in line {line}, column {name}, is not {kind.expected}") from None
    return np.array(result, dtype=kind.dtype)
