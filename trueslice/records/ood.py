"""Warnings of pictures that are unlike the training scans (out of distribution): metrics/ood.json."""

from trueslice.records.base import Record


class WarningRate(Record):
    """How often a kind of picture is warned of."""

    pictures: str
    count: int
    warned: float
    low: float | None
    high: float | None
    method: str | None
    reason: str | None


class OodWarnings(Record):
    """The distance from which a picture is warned of, and how often that happens."""

    threshold: float
    rates: list[WarningRate]
