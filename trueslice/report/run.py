"""The results of a run, as the report and the model card read them, and the names that both give to them."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from trueslice.params import Params
from trueslice.records.baselines import Baseline, Baselines
from trueslice.records.data import DataCounts
from trueslice.records.embedding import EmbeddingAxes
from trueslice.records.explain import ExplanationScores, PointingScore
from trueslice.records.external import ExternalScores
from trueslice.records.intervals import Intervals
from trueslice.records.patients import PatientScores
from trueslice.records.split import SplitCounts
from trueslice.records.test import ClassScores, CoveragePoint, ExposureScore, ModelScores
from trueslice.records.train import Training
from trueslice.records.trained import TrainedModel
from trueslice.records.withheld import Withheld
from trueslice.report.format import TOO_NARROW, percent

# The sections of params.yaml that the report and the model card show.
SECTIONS = {"seed", "data", "checkpoint", "verify", "split", "train", "evaluate", "external"}
# Test scans by how much of them the model was trained or chosen on.
EXPOSURES = {
    "copy": "a copy was seen",
    "patient": "only the patient was seen",
    "neither": "neither was seen",
    "unknown": "no copy seen, patient unknown",
}
BUILT_IN = ("tiny", "tiny_conv")  # checkpoints that start at random


@dataclass(frozen=True)
class Run:
    """The results of a run and the settings that explain them."""

    params: Params
    model: TrainedModel  # trueslice.json of the fine-tuned model
    data: DataCounts  # as the next ones, the file of that name in metrics/
    split: SplitCounts
    train: Training
    test: ModelScores
    intervals: Intervals
    baselines: Baselines
    external: ExternalScores
    embedding: EmbeddingAxes
    explain: ExplanationScores
    withheld: Withheld
    patients: PatientScores

    @classmethod
    def read(cls, metrics: Path, model: Path, params: Params) -> Self:
        """Read the folder of metrics and trueslice.json in the folder of the fine-tuned model."""
        records: dict[str, Any] = {name: of.read(metrics / f"{name}.json") for name, of in cls.records().items()}
        return cls(params=params, model=TrainedModel.read(model / "trueslice.json"), **records)

    @classmethod
    def records(cls) -> dict[str, Any]:
        """Return the record of each file of metrics/ by its name."""
        return {each.name: each.type for each in fields(cls)[2:]}

    @property
    def drawn(self) -> bool:
        """True if the scans are phantoms."""
        return self.params.data.source == "phantom"

    @property
    def negative(self) -> str | None:
        """The class without a tumour; None if there is none."""
        return self.params.evaluate.negative_class

    @property
    def checkpoint(self) -> str:
        """The checkpoint that training started from, with its revision; of a local folder the last name alone."""
        name, revision = self.model.checkpoint.name, self.model.checkpoint.revision
        return f"{name}, revision {revision}" if revision else name.rstrip("/").rsplit("/", 1)[-1]

    @property
    def source(self) -> str:
        """The origin of the scans; of a local folder or archive the last name alone."""
        data = self.params.data
        if self.drawn:
            return "phantoms drawn by this project"
        if data.source == "kaggle":
            version = "newest" if data.kaggle.version is None else data.kaggle.version
            return f"Kaggle, {data.kaggle.dataset}, version {version}"
        return f"files of {data.source.rstrip('/').rsplit('/', 1)[-1]}"

    @property
    def exposures(self) -> list[ExposureScore]:
        """The accuracy over all classes for each exposure that a test scan has."""
        return [row for row in self.test.exposure if row.class_name is None and row.scans]

    def exposed(self, exposure: str) -> int:
        """Return the number of test scans with an exposure, a key of `EXPOSURES`."""
        return sum(row.scans for row in self.exposures if row.exposure == exposure)

    @property
    def best_baseline(self) -> Baseline:
        """The baseline with the highest accuracy."""
        return max(self.baselines.baselines, key=lambda row: row.accuracy)

    @property
    def remembered(self) -> dict[str, float]:
        """The accuracy of the nearest training scan, which remembers all it has seen, by exposure."""
        nearest = next(row for row in self.baselines.baselines if row.baseline == "nearest_neighbour")
        shares = {kind: getattr(nearest, f"accuracy_{kind}") for kind in ("copy", "patient", "neither")}
        return {kind: share for kind, share in shares.items() if share is not None}

    @property
    def half_covered(self) -> CoveragePoint:
        """The errors if the model answers for about half of the scans."""
        return min(self.test.risk_coverage.rows, key=lambda row: abs(row.coverage - 0.5))

    @property
    def pointing(self) -> dict[str, PointingScore]:
        """Share of all scans in which each map, a key of `evaluate.pointing.COLUMNS`, is highest inside the tumour."""
        return {row.of: row for row in self.explain.rows if (row.by, row.score) == ("all", "pointing")}

    def predicted(self, row: ClassScores) -> dict[str, int]:
        """Return the number of a class's test scans by predicted class, without zeros."""
        names = [each.class_name for each in self.test.classes]
        return {name: count for name, count in zip(names, row.predicted_as, strict=True) if count}

    @property
    def worst_mistake(self) -> tuple[int, str, str] | None:
        """The most frequent mistake: number of scans, true class and predicted class; None if there is none."""
        found = [(row, name, count) for row in self.test.classes for name, count in self.predicted(row).items()]
        mistakes = [(count, row.class_name, name) for row, name, count in found if name != row.class_name]
        return max(mistakes, key=lambda mistake: mistake[0], default=None)

    @property
    def coverage(self) -> str:
        """The share of simulations in which too narrow intervals held the true value; empty if there are none."""
        records = self.intervals.text() + self.test.text() + self.baselines.text()
        shares = sorted(map(float, re.findall(r'covers": ([\d.]+)', records)))
        return " to ".join(dict.fromkeys(percent(share) for share in (*shares[:1], *shares[-1:])))

    @property
    def too_narrow(self) -> str:
        """The note under a table with too narrow intervals; empty if the run has none."""
        held = f"in the worst simulated case it held the true value in {self.coverage}, not in 95 %"
        return f"{TOO_NARROW} Too narrow: {held}." if self.coverage else ""
