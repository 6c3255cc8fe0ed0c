"""A trained model: trueslice.json beside its weights in models/finetuned."""

from typing import Annotated

from pydantic import Field, JsonValue

from trueslice.params import Classes, Seed
from trueslice.records.base import Record, Share

LOWEST, HIGHEST = 0.05, 20.0
Temperature = Annotated[float, Field(ge=LOWEST, le=HIGHEST)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Checkpoint(Record):
    """The checkpoint that a training starts from: checkpoint.json in models/pretrained."""

    name: str
    revision: str | None  # the commit on the Hugging Face hub


class TrainedModel(Record):
    """Facts of a model after training; without commit and time, which DVC's run-cache would keep for all."""

    classes: Classes
    checkpoint: Checkpoint
    seed: Seed
    train: dict[str, JsonValue]  # as in params.yaml, whose keys may change from one version to the next
    temperature: Temperature
    wise_ft_alpha: Share | None
    splits_sha256: Sha256
    versions: dict[str, str]  # of packages
