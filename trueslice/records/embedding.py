"""The plane of plots/embedding.csv: metrics/embedding.json."""

from trueslice.records.base import Record


class Variance(Record):
    """Share of the variance that each axis shows, from 0 to 1."""

    x: float
    y: float


class EmbeddingAxes(Record):
    """The axes of the plane."""

    variance: Variance
