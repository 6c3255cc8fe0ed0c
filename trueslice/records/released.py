"""A released model: trueslice.json in models/released, which all commands read that use one."""

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from trueslice.params import Decode, Threshold
from trueslice.records.base import WITH_A_VALUE, Record
from trueslice.records.confidence import ConfidenceRange
from trueslice.records.ood import OodWarnings
from trueslice.records.trained import Sha256, TrainedModel
from trueslice.records.withheld import Promise

FORMAT = 1  # of the folder; others are refused


class HeatMaps(Record):
    """Decision on showing explanations, by their quality."""

    shown: bool
    reason: str


class ReleasedModel(TrainedModel):
    """Facts of a released model, and the hashes of its files."""

    advice: ClassVar[str] = "make the model again by `dvc repro release`, or fetch its folder again"

    format: int
    drawn: bool  # whether it was trained on phantoms
    decode: Decode
    copy_threshold: Threshold
    ood: OodWarnings
    confidence: Annotated[list[ConfidenceRange], Field(min_length=1)]
    explain: HeatMaps
    promise: Promise | None = WITH_A_VALUE  # scans below its threshold are referred, not answered
    files: dict[str, Sha256]  # by name; of trueslice.json itself, without this key

    @model_validator(mode="before")
    @classmethod
    def _has_this_format(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("format") != FORMAT:
            raise ValueError(f"it is not of a released model, or of another version (its format is not {FORMAT})")
        return content
