"""Tables as CSV files, with typed columns.

A table is a frozen dataclass whose columns are arrays with one entry per row:

    scans = Scans.read(Path("data/scans/scans.csv"))
    scans.path[scans.class_name == "glioma"]
    scans.take(scans.official_split == "test").write(Path("test.csv"))
"""

import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Self, TextIO

import numpy as np

from trueslice.errors import UserError
from trueslice.files import whole_file
from trueslice.tables.rows import csv_line, read_rows, shown


class Kind(NamedTuple):
    """Type of a column."""

    dtype: type  # of its array
    read: Callable[[str], Any]  # a cell; ValueError, KeyError or OverflowError where that is not of this kind
    write: Callable[[Any], str]
    expected: str  # for the message about a wrong cell


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError
    return value


def _share(text: str) -> float:
    if not 0 <= (value := float(text)) <= 1:
        raise ValueError
    return value


def one_of(*words: str) -> Kind:
    """Return the kind of a column that holds some words only."""
    return Kind(str, {word: word for word in words}.__getitem__, str, " or ".join(word or "empty" for word in words))


TEXT = Kind(str, str, str, "text")

OFFICIAL = one_of("train", "val", "test", "")

LEAK = one_of("", "copy", "patient")

EXPOSURE = one_of("copy", "patient", "neither", "unknown")

WHOLE = Kind(np.int64, np.int64, str, "a whole number")

FOUR_DECIMALS = Kind(np.float64, _finite, "{:.4f}".format, "a number")

SIX_DECIMALS = Kind(np.float64, _finite, "{:.6f}".format, "a number")

# 9 digits bring any float32 back to the same bits.
NUMBER = Kind(np.float64, _finite, "{:.9g}".format, "a number")

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
            with path.open(encoding="utf-8-sig", newline="") as file:
                return cls._of(file)
        except ValueError as error:
            raise UserError(f"{path} is damaged: {error}; `dvc repro` writes it again") from None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Convert the text of a CSV file; unknown columns are skipped.

        Raises:
            ValueError: a column is missing, or a cell is not of its kind; the message names column and line.
        """
        return cls._of(io.StringIO(text.removeprefix("\ufeff"), newline=""))

    @classmethod
    def _of(cls, file: TextIO) -> Self:
        numbered = read_rows(file)
        _, header = next(numbered)
        prefixes = [_name(each) for each in cls._columns() if each.metadata["per_class"]]
        values: dict[str, Any] = {}
        if prefixes:
            own = [title for title in header if title.startswith(prefixes[0])]
            values["class_names"] = tuple(title.removeprefix(prefixes[0]) for title in own)
        titles = {each.name: _titles(each, values.get("class_names", ())) for each in cls._columns()}
        if missing := [title for title in chain(*titles.values()) if title not in header]:
            raise ValueError(f"it has no column {missing[0]}")
        rows = list(numbered)
        for each in cls._columns():
            kind = each.metadata["kind"]
            if kind == CLASS:
                kind = Kind(np.int64, values["class_names"].index, str, "the name of a class")
            columns = [_cells(rows, header.index(title), title, kind) for title in titles[each.name]]
            if each.metadata["per_class"]:
                values[each.name] = np.stack(columns, axis=1) if columns else np.empty((len(rows), 0))
            else:
                values[each.name] = columns[0]
        table = cls(**values)
        table._check()
        return table

    def _check(self) -> None:
        """Raise a ValueError if columns contradict each other."""

    def write(self, path: Path) -> None:
        """Write a CSV file, whole or not at all."""
        with whole_file(path) as new:
            new.write_text(self.text(), encoding="utf-8", newline="")

    def text(self) -> str:
        """Return the content of the CSV file."""
        columns: dict[str, Iterable[str]] = {}
        class_names: tuple[str, ...] = getattr(self, "class_names", ())
        for each in self._columns():
            kind, titles, values = each.metadata["kind"], _titles(each, class_names), getattr(self, each.name)
            write = class_names.__getitem__ if kind == CLASS else kind.write
            for title, cells in zip(titles, np.atleast_2d(values.T).tolist(), strict=True):
                columns[title] = map(write, cells)
        return "".join(map(csv_line, [columns, *zip(*columns.values(), strict=True)]))

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


def _name(column: Any) -> str:
    return column.metadata["name"] or column.name


def _titles(column: Any, class_names: Sequence[str]) -> list[str]:
    """Return what the columns of a field are called in the file."""
    name = _name(column)
    return [name + class_name for class_name in class_names] if column.metadata["per_class"] else [name]


def _cells(rows: Sequence[tuple[int, list[str]]], place: int, title: str, kind: Kind) -> np.ndarray:
    cells = []
    for line, row in rows:
        try:
            cells.append(read_cell(row[place], title, kind))
        except ValueError as error:
            raise ValueError(f"line {line}: {error}") from None
    return np.array(cells, dtype=kind.dtype)


def read_cell(text: str, title: str, kind: Kind) -> Any:
    """Return the value of a cell in the column `title`; ValueError if it is not of its kind."""
    try:
        return kind.read(text)
    except (ValueError, KeyError, OverflowError):
        raise ValueError(f"{shown(text)} in column {title} is not {kind.expected}") from None
