"""Training, validation and test scans: metrics/split.json."""

from trueslice.records.base import Record, key


class _Protocol(Record):
    protocol: str  # `grouped` where `official` was asked for and no test set is published


class _OfClass(Record):
    class_name: str = key("class")


class Placed(Record):
    """Counts of the scans in each part, and of units and patients."""

    train: int
    val: int
    test: int
    dropped: int
    dropped_as_conflicting: int
    dropped_as_leaked: int
    dropped_at_random: int
    dropped_as_repeated: int
    leaked_test_scans: int  # test scans with a copy in the published Training folder
    leaked_by_patient: int  # test scans without a copy in train or val, but with their patient there
    placed_by_names: int  # under `patients`, scans without a known patient
    units: int
    patients_train: int
    patients_val: int
    patients_test: int
    patients_in_train_and_test: int  # train or val, and test


# A record begins with the fields of its last base.
class ClassSplit(Placed, _OfClass):
    """The counts of one class."""


class SplitCounts(Placed, _Protocol):
    """The counts of all scans and of each class."""

    classes: list[ClassSplit]
    conflicting: list["ConflictingScan"]


class ConflictingScan(Record):
    """A scan with a copy under another class, or of another class in its source."""

    path: str
    class_name: str = key("class")
    group: int
