"""Files of metrics/ as records: what is written comes back, and what is damaged is named."""

from pathlib import Path

import pytest

from trueslice.errors import UserError
from trueslice.records.baselines import Baselines
from trueslice.records.confidence import ErrorRates
from trueslice.records.data import DataCounts
from trueslice.records.embedding import EmbeddingAxes
from trueslice.records.explain import ExplanationScores
from trueslice.records.external import ExternalScores
from trueslice.records.intervals import Intervals
from trueslice.records.ood import OodWarnings
from trueslice.records.patients import PatientScores
from trueslice.records.split import SplitCounts
from trueslice.records.summary import Summary
from trueslice.records.test import ModelScores
from trueslice.records.timing import Timing
from trueslice.records.train import Training
from trueslice.records.withheld import Withheld

METRICS = Path(__file__).parents[2] / "metrics"
RECORDS = {
    "baselines": Baselines,
    "confidence": ErrorRates,
    "data": DataCounts,
    "embedding": EmbeddingAxes,
    "explain": ExplanationScores,
    "external": ExternalScores,
    "intervals": Intervals,
    "ood": OodWarnings,
    "patients": PatientScores,
    "split": SplitCounts,
    "summary": Summary,
    "test": ModelScores,
    "timing": Timing,
    "train": Training,
    "withheld": Withheld,
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_file_that_is_read_is_written_with_the_same_bytes(name, tmp_path):
    path = METRICS / f"{name}.json"
    RECORDS[name].read(path).write(tmp_path / "new.json")
    assert (tmp_path / "new.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"[1]", "the value of the whole is not of its type"),
        (b'{"variance": {"x": 0.4}}', "it has no key variance.y"),
        (b'{"variance": {"x": 0.4, "z": 0.2}}', "it has an unknown key variance.z"),
        (b'{"variance": {"x": 0.4, "y": "0.2"}}', "the value of variance.y is not of its type"),
        (b'{"variance": {"x": 0.4, "y": NaN}}', "the value of variance.y is not of its type"),
    ],
)
def test_a_damaged_file_is_named_with_its_key(content, problem, tmp_path):
    path = tmp_path / "embedding.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        EmbeddingAxes.read(path)
    assert str(raised.value) == f"{path} is damaged: {problem}; `dvc repro` writes it again"


def test_a_record_without_a_number_for_a_score_is_an_error():
    with pytest.raises(ValueError, match="finite"):
        EmbeddingAxes(variance={"x": float("nan"), "y": 0.2})


def test_a_score_that_was_not_measured_has_no_value_but_a_reason():
    score = Intervals.read(METRICS / "intervals.json").find("accuracy", "ependymoma")
    assert (score.value, score.reason) == (None, "it was not measured")
