"""Scores on other data sets: metrics/external.json."""

from trueslice.records.base import Record, key
from trueslice.records.tumour import AtThreshold


class FolderWithoutClass(Record):
    """A folder of a data set that is none of the classes."""

    folder: str
    files: int


class SetFiles(Record):
    """Files of one data set: a row of data/external.json."""

    set: str  # its name
    files: int
    unreadable: int
    without_class: list[FolderWithoutClass]
    # Scans that are no copies, but slices of patients whom development scans show too, as far as pictures tell.
    of_known_patients: int = 0


class ExternalFiles(Record):
    """Files of all data sets: data/external.json."""

    sets: list[SetFiles]


class ClassRecall(Record):
    """Recall of the new scans of one class."""

    class_name: str = key("class")
    kept: int
    recall: float | None
    low: float | None
    high: float | None
    method: str | None
    reason: str | None


class SetScores(SetFiles):
    """Scores on the new scans of one data set; copies are not new."""

    dropped_as_development: int  # copies of scans that the model was developed on
    dropped_within: int  # copies of an earlier scan of the same data set
    kept: int
    kept_distinct: int
    accuracy: float | None
    low: float | None
    high: float | None
    method: str | None
    reason: str | None
    accuracy_of_dropped: float | None  # of the copies of scans that the model was developed on
    classes: list[ClassRecall]
    missing_classes_answered: float | None  # share of the answers that name a class without a new scan
    tumour: list[AtThreshold] | None  # None without a negative class or without a new scan
    nll: float | None
    ece: float | None


class ExternalScores(Record):
    """Scores on all data sets."""

    sets: list[SetScores]
