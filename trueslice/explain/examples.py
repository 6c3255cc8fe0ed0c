"""Choice of test scans to look at: the most confident mistakes, the least confident hits, and any others."""

import numpy as np

from trueslice.explain.similarity import most_similar
from trueslice.tables.examples import Examples
from trueslice.tables.predictions import Predictions

COUNT = 4  # of each kind
SEED = 0
NEAREST = 3


def choose(
    predictions: Predictions, has_mask: np.ndarray, test: np.ndarray, train: np.ndarray, embeddings: np.ndarray
) -> Examples:
    """Choose examples, no two of a kind from one unit. The others are drawn at random from the scans with a mask.

    `test` and `train`, int [N] and [M], are rows of scans.csv, of all of which are the `embeddings` (`unit_length`).
    """
    probability = predictions.probabilities[np.arange(len(predictions)), predictions.y_pred]
    right = predictions.y_pred == predictions.y_true
    order = np.argsort(-probability, kind="stable")
    mistakes = _distinct(order[~right[order]], predictions.unit)
    hits = _distinct(order[right[order]][::-1], predictions.unit)
    others = _distinct(np.random.default_rng(SEED).permutation(np.flatnonzero(has_mask)), predictions.unit)
    rows = np.array([*mistakes, *hits, *others], dtype=int)
    found, _ = most_similar(embeddings[test[rows]], embeddings[train], NEAREST)
    # With fewer training scans than asked for, the last is shown again.
    nearest = train[np.pad(found, ((0, 0), (0, NEAREST - found.shape[1])), mode="edge")]
    names = np.array(predictions.class_names)
    return Examples(
        kind=np.repeat(["mistake", "hit", "example"], [len(mistakes), len(hits), len(others)]),
        row=rows,
        scan=test[rows],
        nearest_1=nearest[:, 0],
        nearest_2=nearest[:, 1],
        nearest_3=nearest[:, 2],
        class_name=names[predictions.y_true[rows]],
        predicted=names[predictions.y_pred[rows]],
        probability=probability[rows],
    )


def _distinct(rows: np.ndarray, units: np.ndarray) -> list[int]:
    """Return the first rows of different units."""
    chosen: dict[int, int] = {}
    for row in rows.tolist():
        chosen.setdefault(int(units[row]), row)
    return list(chosen.values())[:COUNT]
