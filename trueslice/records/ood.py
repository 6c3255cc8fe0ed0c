"""Warnings of pictures that are unlike the training scans (out of distribution): metrics/ood.json."""

from typing import Annotated

from pydantic import Field

from trueslice.records.base import Record, Share


class WarningRate(Record):
    """Share of the pictures of one kind that lead to a warning."""

    pictures: str
    count: int
    warned: Share
    low: Share | None
    high: Share | None
    method: str | None
    reason: str | None


class OodWarnings(Record):
    """The distance above which a picture leads to a warning, and the share of pictures that do."""

    threshold: Annotated[float, Field(ge=0)]
    rates: list[WarningRate]
