"""Scores of methods without fine-tuning: metrics/baselines.json."""

from trueslice.records.base import Record


class Baseline(Record):
    """Scores of one baseline on the test scans, and how much better the fine-tuned model is."""

    baseline: str
    accuracy: float
    low: float | None
    high: float | None
    method: str | None
    reason: str | None
    covers: float | None
    difference: float  # accuracy of the model minus that of the baseline
    difference_low: float | None
    difference_high: float | None
    difference_reason: str | None
    accuracy_copy: float | None  # on the test scans of this exposure; None without one
    accuracy_patient: float | None
    accuracy_neither: float | None
    balanced_accuracy: float | None
    macro_f1: float | None
    missed_tumours: float | None
    false_alarms: float | None


class Baselines(Record):
    """All baselines."""

    baselines: list[Baseline]
