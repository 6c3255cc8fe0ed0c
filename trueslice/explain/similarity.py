"""Similarity of scans to the fine-tuned model: the one definition that report, answers and the map of scans share."""

import numpy as np


def unit_length(features: np.ndarray) -> np.ndarray:
    """Scale features of the image tower, before the projection, to length 1: float32 [N, F]."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.float32(1e-12))


def most_similar(embeddings: np.ndarray, known: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the known scans most similar to each scan, by the cosine of their features; the most similar comes first.

    Args:
        embeddings, known: as `unit_length` returns them, float32 [N, F] and [M, F].
        count: scans to find for each; all M where there are fewer.

    Returns:
        Rows of `known`, int [N, count], and the cosines, float32 [N, count].
    """
    cosines = embeddings @ known.T
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return rows, np.take_along_axis(cosines, rows, axis=1)
