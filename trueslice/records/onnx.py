"""A model in the form of ONNX: model.json beside the graph."""

from typing import Annotated

from pydantic import Field

from trueslice.records.base import Record
from trueslice.records.trained import Sha256, Temperature

TOLERANCE = 1e-3  # of a probability; sums in another order change fp32 by some millionths
Channels = Annotated[list[float], Field(min_length=3, max_length=3)]


class Parity(Record):
    """Agreement of ONNX Runtime with PyTorch."""

    of: str  # pictures that both classified
    scans: int  # number of them
    largest_difference: float  # of a probability
    answers_changed: int  # number of scans that get another class

    @property
    def holds(self) -> bool:
        """True if both give the same answers."""
        return self.answers_changed == 0 and self.largest_difference <= TOLERANCE


class OnnxModel(Record):
    """Facts that the user of a graph must know."""

    classes: list[str]  # of the probabilities
    size: int  # side of the graph's input
    square_size: int  # side of the black square into which a scan is fitted before
    colour: bool
    resize: str
    mean: Channels
    deviation: Channels
    temperature: Temperature
    weights_sha256: dict[str, Sha256]  # by the name of the file
    opset: int
    parity: Parity
    versions: dict[str, str]  # of packages
