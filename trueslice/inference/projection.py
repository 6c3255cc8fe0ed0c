"""Embeddings of scans on a plane."""

import numpy as np

from trueslice.records.embedding import EmbeddingAxes, Variance
from trueslice.tables.embedding import EmbeddingMap
from trueslice.tables.known import KnownScans
from trueslice.tables.predictions import Predictions


def plane(scans: KnownScans, embeddings: np.ndarray, predictions: Predictions) -> tuple[EmbeddingMap, EmbeddingAxes]:
    """Project the embeddings of N scans, float32 [N, D], on two principal components; return the map and its axes."""
    from sklearn.decomposition import PCA  # takes seconds

    fitted = PCA(2, svd_solver="covariance_eigh").fit(embeddings.astype(np.float64))
    called = dict(zip(predictions.path, np.array(predictions.class_names)[predictions.y_pred], strict=True))
    y_pred = np.array([called.get(path, "") for path in scans.path], dtype=str)
    drawn = EmbeddingMap(scans.path, scans.class_name, scans.split, y_pred, *fitted.transform(embeddings).T)
    x, y = np.nan_to_num(fitted.explained_variance_ratio_).tolist()  # 0 / 0 where all scans are alike
    return drawn, EmbeddingAxes(variance=Variance(x=x, y=y))
