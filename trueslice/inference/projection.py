"""Embeddings of scans on a plane."""

import numpy as np

from trueslice.records.embedding import EmbeddingAxes, Variance
from trueslice.tables.embedding import EmbeddingMap
from trueslice.tables.known import KnownScans
from trueslice.tables.predictions import Predictions


def plane(scans: KnownScans, embeddings: np.ndarray, predictions: Predictions) -> tuple[EmbeddingMap, EmbeddingAxes]:
    """Project the embeddings of N scans, float32 [N, D], on two principal components; return the map and its axes."""
    coordinates, shares = principal_components(embeddings, 2)
    called = dict(zip(predictions.path, np.array(predictions.class_names)[predictions.y_pred], strict=True))
    y_pred = np.array([called.get(path, "") for path in scans.path], dtype=str)
    drawn = EmbeddingMap(scans.path, scans.class_name, scans.split, y_pred, *coordinates.T)
    return drawn, EmbeddingAxes(variance=Variance(x=float(shares[0]), y=float(shares[1])))


def principal_components(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first principal components of rows, [N, D]: float64 [N, count], and the variance of each, [count].

    The variance is a share of the whole. Signs are fixed: the largest weight of a component is above 0.
    """
    centred = rows - rows.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    directions = directions[:, ::-1][:, :count]
    directions = directions * np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(count)])
    whole = variances.sum()
    shares = variances[::-1][:count] / whole if whole > 0 else np.zeros(count)
    return centred @ directions, shares
