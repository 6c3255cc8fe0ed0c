"""Markdown tables, and the numbers in their cells."""

from collections.abc import Iterable, Mapping, Sequence


def table(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table: one line for the heads, one for the rule, one for each row."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def limits(row: Mapping[str, float], prefix: str = "") -> str:
    """Return the ends of an interval of shares, in percent."""
    return f"{100 * row[prefix + 'low']:.1f} to {100 * row[prefix + 'high']:.1f}"


def span(shares: Sequence[float]) -> str:
    """Return the lowest and the highest of several shares, in percent."""
    return f"{100 * min(shares):.1f} to {100 * max(shares):.1f}"


def accuracy(row: Mapping[str, float]) -> str:
    """Return an accuracy with its interval."""
    return f"**{percent(row['accuracy'])}** ({limits(row)})"


def points(row: Mapping[str, float]) -> str:
    """Return a difference in points, with its interval."""
    values = (f"{100 * row[key]:+.1f}" for key in ("difference", "low", "high"))
    return "{} ({} to {})".format(*values).replace("-", "−")
