"""Scans, their copies and their patients: metrics/data.json."""

from trueslice.records.base import Record, key


class DataCounts(Record):
    """Counts of the decoded scans, before any of them is left out."""

    files: int
    decoded: int
    unreadable_files: int
    colour_files: int
    distinct_scans: int  # groups of copies; a scan without a copy is a group of its own
    copy_pairs: int
    copy_groups: int  # of two files or more
    largest_copy_group: int
    label_conflicts: int  # groups of copies under several classes
    source_conflicts: int  # scans of another class in their source
    test_scans: int  # of the published test set, as all below
    leaked_test_scans: int  # with a copy in Training
    patient_leaked_test_scans: int  # without a copy there, but with their patient
    test_scans_of_train_patients: int
    patients: int
    patients_in_both_folders: int
    scans_without_patient: int
    classes: list["ClassCounts"]
    copy_kinds: list["CopyKind"]
    best_matches: list["MatchBin"]
    examples: list["CopyExample"]
    unreadable: list["UnreadableFile"]


class ClassCounts(Record):
    """The same counts for the scans of one class."""

    class_name: str = key("class")
    scans: int
    distinct: int
    patients: int
    patients_train: int
    patients_test: int
    patients_in_both: int
    train: int  # in Training, and in Validation if there is one, as wherever these counts tell the two from Testing
    test: int
    leaked: int
    source_conflicts: int
    without_patient: int
    patient_leaked: int
    test_of_train_patients: int
    train_of_other_patients: int  # training scans of known patients who are not in the test set


class CopyKind(Record):
    """Pairs of copies of one kind, for example `exact` or `mirrored`."""

    kind: str
    pairs: int


class MatchBin(Record):
    """A bin of the highest correlation of each scan with another: scans that have a copy, and others."""

    lower: float = key("from")
    upper: float = key("to")
    copies: int
    others: int


class CopyExample(Record):
    """A pair of copies to show: two rows of scans.csv."""

    a: int
    b: int
    kind: str
    correlation: float
    class_name: str = key("class")  # two names with a slash between them where the classes differ


class UnreadableFile(Record):
    """A file that could not be decoded."""

    path: str
    reason: str
