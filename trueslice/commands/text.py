"""Tables, paragraphs and intervals as plain text for a terminal."""

import textwrap
from collections.abc import Callable, Sequence
from math import isnan

from trueslice.evaluate.intervals import Interval
from trueslice.files import printable

WIDTH = 80  # of a terminal


def aligned(rows: Sequence[Sequence[str]], sides: str) -> str:
    """Write rows of cells as printable lines with aligned columns, each to the left (<) or to the right (>).

    >>> print(aligned([("", "scans"), ("glioma", "30")], "<>"))
            scans
    glioma     30
    """
    rows = [[*map(printable, row)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)) for row in rows
    )
    return "\n".join(map(str.rstrip, lines))


def paragraph(*sentences: str | None) -> str:
    """Join sentences, and wrap them into lines of at most 80 characters."""
    return textwrap.fill(printable(" ".join(filter(None, sentences))), WIDTH)


def share(value: float) -> str:
    """Write a share with four decimals; NaN is a dash."""
    return "-" if isnan(value) else f"{value:.4f}"


def interval_text(interval: Interval, end: Callable[[float], str] = share) -> str:
    """Write an interval, each end by `end`; if there is none, give the reason."""
    if interval.low is None or interval.high is None:
        return interval.reason or "-"
    return f"{end(interval.low)} to {end(interval.high)}"
