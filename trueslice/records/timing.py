"""Time and memory: metrics/timing.json, the one file that differs from run to run."""

from trueslice.records.base import Record


class TrainingTime(Record):
    """Cost of the training."""

    device: str
    seconds: float
    images_per_second: float
    peak_memory_mb: float  # of the GPU where there is one, else of the process


class Timing(Record):
    """The cost of each stage that is measured."""

    train: list[TrainingTime]  # one: DVC draws lists
