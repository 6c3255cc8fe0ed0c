"""Every score of the test scans with its 95 % interval: metrics/intervals.json."""

from collections.abc import Iterable

from trueslice.records.base import Record, key


class Unit(Record):
    """Scans that are independent of all others: drawn, left out and counted as a whole in every interval."""

    name: str
    count: int
    patients: int
    scans_without_patient: int


class Score(Record):
    """A score; without a value or an interval the reason says why."""

    score: str
    class_name: str | None = key("class")  # None for all classes together
    value: float | None
    low: float | None
    high: float | None
    method: str | None
    reason: str | None
    covers: float | None  # as in `trueslice.evaluate.intervals.Interval`


class Intervals(Record):
    """All scores of the fine-tuned model."""

    unit: Unit
    intervals: list[Score]

    def find(self, score: str, class_name: str | None = None) -> Score:
        """Return a score; one without a value where it was not measured."""
        return find(self.intervals, score, class_name)


def find(scores: Iterable[Score], score: str, class_name: str | None = None) -> Score:
    """Return one of the scores; one without a value where it was not measured."""
    found = (each for each in scores if (each.score, each.class_name) == (score, class_name))
    nothing = dict.fromkeys(("value", "low", "high", "method", "covers"))
    reason = "it was not measured"
    return next(found, Score(score=score, class_name=class_name, reason=reason, **nothing))
