"""Where a model places scans, on a plane that one can look at."""

import numpy as np

from trueslice.tables.embedding import EmbeddingMap
from trueslice.tables.known import KnownScans
from trueslice.tables.predictions import Predictions


def plane(scans: KnownScans, embeddings: np.ndarray, predictions: Predictions) -> tuple[EmbeddingMap, dict[str, float]]:
    """Project the embeddings of N scans, float32 [N, D], on their first two principal components.

    Returns:
        The map, and the share of the variance that each axis shows, from 0 to 1: keys `x` and `y`.
    """
    coordinates, shares = principal_components(embeddings, 2)
    called = dict(zip(predictions.path, np.array(predictions.class_names)[predictions.y_pred], strict=True))
    y_pred = np.array([called.get(path, "") for path in scans.path], dtype=str)
    drawn = EmbeddingMap(scans.path, scans.class_name, scans.split, y_pred, *coordinates.T)
    return drawn, dict(zip(("x", "y"), shares.tolist(), strict=True))


def principal_components(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first principal components of rows, [N, D], as float64 [N, count], and the variance that each has, [count].

    The variance is a share of the whole. Signs are fixed: the largest weight of a component is above 0.
    """
    centred = rows - rows.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    directions = directions[:, ::-1][:, :count]
    directions = directions * np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(count)])
    whole = variances.sum()
    shares = variances[::-1][:count] / whole if whole > 0 else np.zeros(count)
    return centred @ directions, shares
