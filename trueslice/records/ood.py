"""Warnings of pictures that are unlike the training scans (out of distribution): metrics/ood.json."""

from trueslice.records.base import Record


class WarningRate(Record):
    """Share of the pictures of one kind that lead to a warning."""

    pictures: str
    count: int
    warned: float
    low: float | None
    high: float | None
    method: str | None
    reason: str | None


class OodWarnings(Record):
    """The distance above which a picture leads to a warning, and the share of pictures that do."""

    threshold: float
    rates: list[WarningRate]
