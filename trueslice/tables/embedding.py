"""Scans in the embedding space of the model: plots/embedding.csv."""

from dataclasses import dataclass

import numpy as np

from trueslice.tables.base import FOUR_DECIMALS, TEXT, Table, column


@dataclass(frozen=True)
class EmbeddingMap(Table):
    """Embeddings of the known scans, projected on a plane: plots/embedding.csv."""

    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    split: np.ndarray = column(TEXT)  # `train`, `val` or `test`
    y_pred: np.ndarray = column(TEXT)  # class predicted for a test scan; empty for others
    x: np.ndarray = column(FOUR_DECIMALS)  # first and second principal component
    y: np.ndarray = column(FOUR_DECIMALS)
