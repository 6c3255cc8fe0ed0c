"""CSV files row by row, whoever wrote them."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from trueslice.errors import UserError
from trueslice.files import printable

LONGEST = 2**20  # characters of a line, which is in memory as a whole
SHOWN = 200  # characters of cells in a message

Rows = Iterator[tuple[int, list[str]]]


@contextmanager
def opened(path: Path) -> Iterator[Rows]:
    """Yield the `read_rows` of a file; a ValueError in the block, also of the caller, becomes a UserError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield read_rows(file)
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{printable(path)}: {error}") from None


def read_rows(file: TextIO) -> Rows:
    """Yield the rows of a CSV file, each with the line that it begins in: the names of the columns, then the cells.

    `file` was opened with newline="". Blank lines are passed over.

    Raises:
        ValueError: the file is empty or not UTF-8, names a column twice, has a row that is longer or shorter than the
            first, a quote that is not closed, or an endless line or cell.
    """
    reader = csv.reader(_lines(file), strict=True)
    header: list[str] = []
    line = 1
    try:
        for row in reader:
            if row:
                header = header or _each_once(row)
                if len(row) != len(header):
                    raise ValueError(f"line {line} has {len(row)} fields, and the first line {len(header)}")
                yield line, row
            line = reader.line_num + 1
    except csv.Error:
        limit = f"or has a cell of more than {csv.field_size_limit():,} characters"
        raise ValueError(f"the row that begins in line {line} has quotes that do not match, {limit}") from None
    except UnicodeDecodeError as error:
        found = "UTF-16" if b"\0" in error.object else "not UTF-8"
        raise ValueError(f"it is {found} text; save it as CSV in UTF-8") from None
    if not header:
        raise ValueError("it is empty")


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(LONGEST):
        if len(line) == LONGEST:
            raise ValueError(f"it has a line of {LONGEST:,} characters or more")
        if "\0" in line:
            raise ValueError("it holds NUL bytes, as UTF-16 text does; save it as CSV in UTF-8")
        yield line


def _each_once(header: list[str]) -> list[str]:
    if twice := [name for name, count in Counter(header).items() if name and count > 1]:
        raise ValueError(f"its first line names the column {shown(twice[0])} twice")
    return header


def lacks(header: Sequence[str], wanted: str) -> ValueError:
    """Return the error of a file that has other columns than those that are wanted."""
    return ValueError(f"its first line names {shown(*header)}, but must name {wanted}, divided by commas")


def shown(*cells: str) -> str:
    """Return cells as one line of limited length."""
    text = ", ".join(repr(str(cell)) for cell in cells)  # of str, not of its kin in NumPy
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def csv_line(cells: Iterable) -> str:
    r"""Return a row of a CSV file as a line that ends in \n."""
    file = io.StringIO(newline="")
    csv.writer(file).writerow(cells)  # before Python 3.13, only a writer of \r\n quotes a \r in a cell
    return file.getvalue().removesuffix("\r\n") + "\n"
