"""Similarity of scans to the fine-tuned model: the one definition that report, answers and the map of scans share."""

import numpy as np


def unit_length(features: np.ndarray) -> np.ndarray:
    """Scale features of the image tower, before the projection, to length 1: float32 [N, F]."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.float32(1e-12))


def most_similar(embeddings: np.ndarray, known: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the `count` known scans most similar to each scan, the most similar first; all where there are fewer.

    From `unit_length`, float32 [N, F] and [M, F], to rows of `known`, int [N, count], and cosines, float32 [N, count].
    """
    cosines = embeddings @ known.T
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return rows, np.take_along_axis(cosines, rows, axis=1)
