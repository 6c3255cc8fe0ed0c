"""Numbers and lists as text: the one place that says how the report, the model card and the figures write them."""

from collections.abc import Callable, Sequence
from typing import Any

NOT_DEFINED = "not defined"
TOO_NARROW = "†"  # marks an interval that holds the true value less often than it says
SHARES = (
    "accuracy", "accuracy_per_distinct_scan", "accuracy_of_dropped", "accuracy_of_one_scan", "accuracy_of_few_scans",
    "balanced_accuracy", "balanced_accuracy_per_distinct_scan", "recall", "sensitivity", "specificity", "precision",
    "ppv", "npv", "missed_tumours", "false_alarms", "upside_down_missed_tumours", "pointing", "energy", "error_rate",
    "warned", "answered", "wrong",
)  # fmt: skip


def percent(share: float | None) -> str:
    """Return a share from 0 to 1 as a percentage with one decimal."""
    return NOT_DEFINED if share is None else f"{100 * share:.1f} %"


def points(difference: float | None) -> str:
    """Return a difference of two shares in percentage points, with its sign."""
    return NOT_DEFINED if difference is None else f"{100 * difference:+.1f}".replace("-", "−")


def signed(difference: float) -> str:
    """Return a difference with its sign and three decimals."""
    return f"{difference:+.3f}".replace("-", "−")


def number(value: float | None, score: str) -> str:
    """Return a value as its score is written: a percentage, points, or three decimals.

    >>> number(0.925, "recall"), number(0.925, "f1"), number(None, "f1")
    ('92.5 %', '0.925', 'not defined')
    """
    if value is None:
        return NOT_DEFINED
    return WRITERS.get(score, lambda plain: f"{plain:.3f}".replace("-", "−"))(value)


WRITERS: dict[str, Callable[[float], str]] = dict.fromkeys(SHARES, percent) | {
    "difference": points,
    "nll_change": signed,
}


def score(record: Any, name: str = "value") -> str:
    """Return the value that a record holds under `name`; the score of `value` is the one that the record names."""
    return number(getattr(record, name), _score_of(record, name))


def interval(record: Any, name: str = "value", separator: str = " to ") -> str:
    """Return the 95 % interval of a value, with a mark if it is too narrow; empty where there is none.

    A record holds the ends as `low` and `high`, or as `<name>_low` and `<name>_high` if it has several intervals.
    """
    prefix = f"{name}_" if hasattr(record, f"{name}_low") else ""
    low, high = (getattr(record, f"{prefix}{end}") for end in ("low", "high"))
    if low is None:
        return ""
    mark = "" if getattr(record, f"{prefix}covers", None) is None else TOO_NARROW
    return separator.join(number(end, _score_of(record, name)) for end in (low, high)) + mark


def with_interval(record: Any, name: str = "value") -> str:
    """Return a value with its interval or, in place of that, the reason why there is none."""
    ends = interval(record, name)
    reason = getattr(record, "reason", None) or "no interval"
    return f"{score(record, name)} ({f'95 % interval {ends}' if ends else reason})"


def counted(count: int, noun: str = "") -> str:
    """Return a number and the noun for it, if any, with an s unless the number is one.

    >>> counted(1, "scan"), counted(2000, "scan"), counted(2000)
    ('1 scan', '2,000 scans', '2,000')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}" if noun else f"{count:,}"


def listed(words: Sequence[str]) -> str:
    """Return words with commas between them and "and" before the last.

    >>> listed(["glioma", "meningioma", "pituitary"])
    'glioma, meningioma and pituitary'
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _score_of(record: Any, name: str) -> str:
    return record.score if name == "value" else name
