"""Scores of tumour against healthy, for metrics/test.json and metrics/external.json."""

from trueslice.records.base import Record


class RocPoint(Record):
    """A point of the ROC curve of tumour against negative, with its band."""

    false_alarms: float
    sensitivity: float
    low: float | None
    high: float | None


class AtThreshold(Record):
    """Sensitivity and specificity where a scan is called a tumour from a probability on."""

    target: float  # the sensitivity on validation, for which the threshold was chosen
    threshold: float
    sensitivity: float | None
    sensitivity_low: float | None
    sensitivity_high: float | None
    specificity: float | None
    specificity_low: float | None
    specificity_high: float | None


class PredictiveValues(Record):
    """Predictive values at one threshold, if this share of the scans showed a tumour."""

    target: float
    prevalence: float
    ppv: float | None
    npv: float | None
    ppv_low: float | None
    npv_low: float | None
    ppv_high: float | None
    npv_high: float | None


class TumourScores(Record):
    """Tumour of any kind against the negative class."""

    auroc: float | None
    low: float | None
    high: float | None
    method: str | None
    reason: str | None
    covers: float | None
    roc: list[RocPoint]  # empty if either side is missing
    operating_points: list[AtThreshold]
    predictive_values: list[PredictiveValues]
