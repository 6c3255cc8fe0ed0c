"""Errors on the test scans by confidence: metrics/confidence.json."""

from typing import Annotated

from pydantic import Field

from trueslice.records.base import Record, Share, key


class ConfidenceRange(Record):
    """Test scans whose confidence, the probability of the predicted class, is in one range."""

    lower: Share = key("from")  # part of the range
    upper: Share = key("to")
    scans: Annotated[int, Field(ge=1)]
    error_rate: Share
    low: Share | None
    high: Share | None
    method: str | None
    reason: str | None


class ErrorRates(Record):
    """Ranges from 0 to 1, each of about as many test scans."""

    ranges: Annotated[list[ConfidenceRange], Field(min_length=1)]
