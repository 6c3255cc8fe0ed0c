"""How often test scans were wrong at each confidence: what a user is told beside an answer."""

import itertools

import numpy as np

from trueslice.evaluate.external import share_row
from trueslice.evaluate.intervals import GroupBootstrap
from trueslice.tables.predictions import Predictions

LEAST = 30  # test scans behind every rate, where there are as many
MOST = 10  # ranges of confidence


def error_rates(predictions: Predictions) -> list[dict]:
    """Divide the test scans by confidence, the probability of the predicted class, into ranges of equally many.

    Each row holds the ends of a range (`from` is part of it; the first begins at 0 and the last ends at 1), how many
    test scans fall into it, their `error_rate` with its interval over units, or the reason why there is none.
    """
    confidence, wrong = predictions.probabilities.max(axis=1), predictions.y_pred != predictions.y_true
    parts = int(np.clip(len(confidence) // LEAST, 1, MOST))
    # Rounded, so that no edge tells one test scan apart; equal ones join.
    edges = np.unique(np.quantile(confidence, np.arange(1, parts) / parts).round(4))
    edges = np.concatenate([[0.0], edges[(edges > confidence.min()) & (edges < 1)], [1.0]])
    places = ranges_of(edges, confidence)
    bootstrap = GroupBootstrap(predictions.unit)
    rows = []
    for place, (low, high) in enumerate(itertools.pairwise(edges)):
        own = places == place
        if own.any():
            row = {"from": float(low), "to": float(high), "scans": int(own.sum())}
            rows.append(row | share_row("error_rate", bootstrap.share(wrong, own)))
    return rows


def ranges_of(edges: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """In which range between ascending `edges` each confidence lies: int [N]."""
    return np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, len(edges) - 2)
