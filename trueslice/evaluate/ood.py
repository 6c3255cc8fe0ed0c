"""Warnings of pictures that are unlike the training scans (out of distribution): metrics/ood.json.

The threshold is set on validation scans. A good one seldom warns of test scans, and often of other pictures.
"""

import numpy as np

from trueslice.evaluate.intervals import SHARE, Estimate, GroupBootstrap, Interval
from trueslice.records.ood import OodWarnings, WarningRate
from trueslice.tables.ood import OodDistances
from trueslice.tables.predictions import ModelPredictions, ValidationPredictions

QUANTILE = 0.99  # of the distances of validation scans, at which the threshold is set
MADE = Interval(reason="made pictures are no sample of any others")


def score(validation: ValidationPredictions, test: ModelPredictions, pictures: OodDistances) -> OodWarnings:
    """Set the threshold, and count the warnings of test scans and of each kind of pictures."""
    threshold = float(np.quantile(validation.distance, QUANTILE).round(6))
    warned = test.distance > threshold
    rates = {"test scans": (len(warned), GroupBootstrap(test.unit).share(warned, np.ones_like(warned)))}
    for kind in dict.fromkeys(pictures.kind.tolist()):
        far = pictures.distance[pictures.kind == kind] > threshold
        rates[kind] = (len(far), Estimate(float(far.mean()), MADE))
    rows = [
        WarningRate(pictures=kind, count=count, **rate.fields("warned", SHARE)) for kind, (count, rate) in rates.items()
    ]
    return OodWarnings(threshold=threshold, rates=rows)
