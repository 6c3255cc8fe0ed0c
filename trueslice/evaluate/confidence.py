"""Error rates of the test scans by confidence; `trueslice predict` shows them with each answer."""

from itertools import pairwise

import numpy as np

from trueslice.evaluate.intervals import SHARE, GroupBootstrap
from trueslice.records.confidence import ConfidenceRange, ErrorRates
from trueslice.tables.predictions import Predictions

LEAST = 30  # test scans behind every rate, where there are as many
MOST = 10  # ranges of confidence


def error_rates(predictions: Predictions) -> ErrorRates:
    """Divide the test scans by confidence into ranges of about as many scans, and compute the error rate in each."""
    confidence, wrong = predictions.probabilities.max(axis=1), predictions.y_pred != predictions.y_true
    parts = int(np.clip(len(confidence) // LEAST, 1, MOST))
    # Rounded, so that no edge tells one test scan apart; equal ones join.
    edges = np.unique(np.quantile(confidence, np.arange(1, parts) / parts).round(4))
    edges = np.concatenate([[0.0], edges[(edges > confidence.min()) & (edges < 1)], [1.0]])
    places = ranges_of(edges, confidence)
    bootstrap = GroupBootstrap(predictions.unit)
    ranges = []
    for place, (lower, upper) in enumerate(pairwise(edges.tolist())):
        own = places == place
        if own.any():
            rate = bootstrap.share(wrong, own).fields("error_rate", SHARE)
            ranges.append(ConfidenceRange(lower=lower, upper=upper, scans=int(own.sum()), **rate))
    return ErrorRates(ranges=ranges)


def ranges_of(edges: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Find the range between ascending `edges` of each confidence: int [N]."""
    return np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, len(edges) - 2)
