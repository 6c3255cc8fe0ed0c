"""Scores of the fine-tuned model on the test scans: metrics/test.json."""

from trueslice.records.base import Record, key
from trueslice.records.tumour import TumourScores

MIN_DISTINCT = 30  # fewer distinct scans are too few for a score of their own


class Calibration(Record):
    """Loss and calibration of the probabilities, before temperature, after it, and by chance."""

    nll: float
    brier: float
    ece: float
    nll_before: float
    brier_before: float
    ece_before: float
    ece_if_calibrated: float  # mean error of perfectly calibrated models, by chance
    ece_p95_if_calibrated: float
    ece_p_value: float
    verdict: str  # effect of the temperature: `helped`, `did not help` or `made it worse`
    nll_change: float | None
    nll_change_low: float | None
    nll_change_high: float | None
    slope: float | None  # 1 if the log odds of a tumour are right, less if they are too extreme
    slope_low: float | None
    slope_high: float | None
    slope_covers: float | None
    intercept: float | None  # 0 if as many tumours are expected as there are
    intercept_low: float | None
    intercept_high: float | None


class PerDistinctScan(Record):
    """Scores where each group of copies has the weight 1."""

    accuracy: float | None
    balanced_accuracy: float | None
    macro_f1: float | None
    scans: int
    conflicting_groups_left_out: int  # groups of copies under several classes


class ClassScores(Record):
    """Scores of one class against the rest."""

    class_name: str = key("class")
    scans: int
    distinct: int
    units: int
    predicted: int
    recall: float | None
    precision: float | None
    f1: float | None
    specificity: float | None
    npv: float | None
    auroc: float | None
    average_precision: float | None
    predicted_as: list[int]  # how many of its scans are predicted as each class


class ReliabilityBin(Record):
    """Test scans whose confidence, the probability of the predicted class, is in one bin."""

    lower: float = key("from")
    upper: float = key("to")
    scans: int
    confidence: float | None
    accuracy: float | None
    low: float | None
    high: float | None
    scans_before: int  # before temperature
    confidence_before: float | None
    accuracy_before: float | None


class SimilarityBin(Record):
    """Test scans whose correlation with the most similar training scan is in one bin."""

    lower: float = key("from")
    upper: float = key("to")
    scans: int
    distinct: int
    units: int
    accuracy: float | None
    low: float | None
    high: float | None


class ExposureScore(Record):
    """Accuracy on test scans of one exposure, as in `Predictions`."""

    exposure: str
    class_name: str | None = key("class")  # None for all classes together
    scans: int
    distinct: int
    units: int
    accuracy: float | None
    low: float | None
    high: float | None
    method: str | None
    reason: str | None
    covers: float | None


class ColumnScore(Record):
    """Accuracy on test scans that have one value in a column of scans.csv."""

    column: str
    value: str
    class_name: str | None = key("class")
    scans: int
    distinct: int
    units: int
    accuracy: float | None
    low: float | None
    high: float | None
    method: str | None
    reason: str | None
    covers: float | None


class NameBlocks(Record):
    """The accuracy's interval over blocks of neighbouring file names, where no patient is known."""

    length: int  # files in a block
    low: float | None
    high: float | None
    times_as_wide: float | None  # as the interval over units


class CoveragePoint(Record):
    """Errors among the scans that are answered, if only this share of all is."""

    coverage: float
    risk: float


class RiskCoverage(Record):
    """Errors among the scans that the model is surest of; `area` is the mean over all coverages."""

    area: float
    low: float | None
    high: float | None
    method: str | None
    reason: str | None
    covers: float | None
    rows: list[CoveragePoint]


class ModelScores(Record):
    """All scores of the fine-tuned model."""

    scans: int
    accuracy: float
    balanced_accuracy: float | None
    macro_precision: float | None
    macro_f1: float | None
    mcc: float | None
    cohen_kappa: float | None
    macro_auroc: float | None
    macro_average_precision: float | None
    missed_tumours: float | None
    false_alarms: float | None
    upside_down_missed_tumours: float | None
    calibration: Calibration
    per_distinct_scan: PerDistinctScan
    classes: list[ClassScores]
    reliability: list[ReliabilityBin]
    similarity: list[SimilarityBin]
    exposure: list[ExposureScore]
    by: list[ColumnScore]
    name_blocks: NameBlocks | None = key("name_runs")  # None where all patients are known
    tumour: TumourScores | None  # None without a negative class
    risk_coverage: RiskCoverage
