"""Decisions of people about labels and pairs of copies: the CSV file that `verify.decisions` names."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from trueslice.errors import UserError
from trueslice.files import printable
from trueslice.tables.base import TEXT, Table, column, one_of
from trueslice.tables.rows import csv_line, shown

HEADER = ("path", "other", "decision", "class")
OF_LABEL, OF_PAIR, UNDONE = ("right", "wrong"), ("same", "different"), "undone"


class Decision(NamedTuple):
    """A decision about the label of the scan at `path`, or about the pair of it and `other`."""

    path: str  # as in `Scans`
    other: str  # likewise; empty where it is about a label
    decision: str  # of OF_LABEL or OF_PAIR, or UNDONE
    class_name: str  # the correct class of a wrong label; empty to leave the scan out

    @property
    def subject(self) -> tuple[str, ...]:
        """The path it is about, or the two of a pair in their order."""
        return tuple(sorted(filter(None, (self.path, self.other))))


@dataclass(frozen=True)
class Decisions(Table):
    """Decisions in the order in which they were made; of several about one subject the last one counts."""

    path: np.ndarray = column(TEXT)
    other: np.ndarray = column(TEXT)
    decision: np.ndarray = column(one_of(*OF_LABEL, *OF_PAIR, UNDONE))
    class_name: np.ndarray = column(TEXT, "class")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file; there are no decisions where there is none, as outside DVC, which asks for it.

        Raises:
            UserError: it is damaged.
        """
        try:
            return cls.parse(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(*[np.empty(0, str)] * 4)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(f"{printable(path)} cannot be used: {reason}; correct it, or undo the change") from None

    @classmethod
    def of(cls, rows: Sequence[Decision]) -> Self:
        """Return the table of some decisions; ValueError if one is none."""
        return cls.parse("".join(map(csv_line, [HEADER, *rows])))

    def _check(self) -> None:
        for each in self._rows():
            allowed = (*(OF_PAIR if each.other else OF_LABEL), UNDONE)
            if not each.path or each.path == each.other or each.decision not in allowed:
                problem = f"{each.decision} can't be said of {shown(*each.subject)}"
                raise ValueError(f"{problem}: a label is {' or '.join(OF_LABEL)}, a pair {' or '.join(OF_PAIR)}")
            if each.class_name and each.decision != "wrong":
                raise ValueError(f"{shown(each.path)} is {each.decision}, and has a class; only a wrong label has one")

    def _rows(self) -> list[Decision]:
        columns = (self.path, self.other, self.decision, self.class_name)
        return [Decision(*row) for row in zip(*(each.tolist() for each in columns), strict=True)]

    def in_force(self) -> list[Decision]:
        """Return the decisions that count: the last one about each subject, unless it was undone."""
        last: dict[tuple[str, ...], Decision] = {}
        for each in self._rows():
            last.pop(each.subject, None)  # the order is that of the last ones
            last[each.subject] = each
        return [each for each in last.values() if each.decision != UNDONE]


def append(path: Path, decisions: Sequence[Decision]) -> None:
    """Add decisions to the end of a file, made if it is not there, and bring them to the disk; all of them or none.

    Raises:
        ValueError: one of them is no decision.
        OSError: it cannot be written.
    """
    rows = Decisions.of(decisions).text().partition("\n")[2]
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        size = os.fstat(handle).st_size
        start = "" if size else csv_line(HEADER)
        if size and os.pread(handle, 1, size - 1) != b"\n":  # an editor has left the last line open
            start = "\n"
        content = (start + rows).encode()
        try:
            if os.write(handle, content) < len(content):
                raise OSError(28, "No space left on device", str(path))
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)
