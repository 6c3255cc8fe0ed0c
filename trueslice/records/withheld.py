"""Answers that are withheld: metrics/withheld.json."""

from trueslice.records.base import Record, Share


class Promise(Record):
    """At most `max_error` of the answers are wrong if scans of a lower confidence than `threshold` are referred.

    The model answers where its confidence, the probability of the predicted class, is at least the threshold.
    """

    max_error: Share
    holds_with: Share  # share of validation sets with which no such promise is broken
    threshold: Share
    scans: int  # of validation
    independent: int  # the number of independent scans that they count as


class AnsweredScans(Record):
    """Some of the scans that the model was not developed on: how many it answers, and how often it is wrong there."""

    by: str  # how scans are divided: `all`, `exposure` or `class`, which are of the test set, or `external`
    value_of: str | None  # the exposure, the class, or the name of the other data set
    scans: int
    answered: Share | None
    answered_low: Share | None
    answered_high: Share | None
    wrong: Share | None  # of the answers
    wrong_low: Share | None
    wrong_high: Share | None


class Withheld(Record):
    """The promise and what became of it; without one, the reason and no rows."""

    promise: Promise | None
    reason: str | None
    rows: list[AnsweredScans]
