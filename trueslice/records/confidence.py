"""Errors on the test scans by confidence: metrics/confidence.json."""

from trueslice.records.base import Record, key


class ConfidenceRange(Record):
    """Test scans whose confidence, the probability of the predicted class, is in one range."""

    lower: float = key("from")  # part of the range
    upper: float = key("to")
    scans: int
    error_rate: float
    low: float | None
    high: float | None
    method: str | None
    reason: str | None


class ErrorRates(Record):
    """Ranges from 0 to 1, each of about as many test scans."""

    ranges: list[ConfidenceRange]
