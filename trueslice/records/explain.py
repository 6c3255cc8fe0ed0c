"""Scores of explanations, which should point at tumours: metrics/explain.json."""

from trueslice.records.base import Record


class PointingScore(Record):
    """A score of explanations, or of maps to compare with, on some scans with a mask."""

    by: str  # how the scans are divided: `all`, `class`, `size` or `answer`
    value_of: str | None  # the class, the size, or whether the answer was right
    score: str  # `pointing` or `energy`
    of: str  # `explanation`, `uniform`, `other_patient`, `fixed_point`, `random_weights` or `ceiling`
    value: float
    low: float | None
    high: float | None
    scans: int
    units: int


class PointingDifference(Record):
    """The score of the explanations minus that of another map, over all scans with a mask."""

    score: str
    against: str
    value: float
    low: float | None
    high: float | None


class ExplanationScores(Record):
    """All scores of explanations."""

    scans: int  # test scans with a mask
    shown: bool  # whether explanations are good enough to be shown
    reason: str
    rows: list[PointingScore]
    differences: list[PointingDifference]
