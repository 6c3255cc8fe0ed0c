"""Scores per patient on the test scans: metrics/patients.json."""

from trueslice.records.base import Record, key
from trueslice.records.intervals import Score, find
from trueslice.records.tumour import TumourScores


class ClassPatients(Record):
    """Patients of one class."""

    class_name: str = key("class")
    patients: int
    scans: int  # distinct ones
    predicted_as: list[int]  # how many of the patients are predicted as each class


class PatientGroup(Record):
    """Accuracy on some of the patients."""

    by: str  # `scans`: the number of distinct scans; `exposure`: as of the scan of the patient that was seen best
    value: str
    patients: int
    accuracy: float
    low: float | None
    high: float | None
    method: str | None
    reason: str | None


class PatientScores(Record):
    """Scores of ensembles: the mean probability of all distinct test scans of a patient is one answer."""

    patients: int
    scans: int  # distinct scans of these patients
    most_scans: int  # of one of them
    patients_left_out: int  # they have test scans under several classes
    scans_without_patient: int
    reason: str | None  # why scores are missing: of these classes no patient is known
    temperature: float | None  # of the ensembles, fitted to those of validation; None if it knows no patient
    validation_patients: int
    classes: list[ClassPatients]  # these four are empty if no patient is known
    scores: list[Score]
    groups: list[PatientGroup]
    tumour: TumourScores | None  # None also if only tumours, or only healthy scans, have known patients

    def find(self, score: str, class_name: str | None = None) -> Score:
        """Return a score; one without a value where no patient is known."""
        return find(self.scores, score, class_name)

    @property
    def telling(self) -> list[Score]:
        """The classes of which the number of a patient's scans alone tells something: their AUROC of the number."""
        numbers = (each for each in self.scores if each.score == "auroc_of_number")
        known = ((each, each.low, each.high) for each in numbers)
        return [each for each, low, high in known if low is not None and high is not None and not low <= 0.5 <= high]
