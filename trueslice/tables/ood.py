"""Distances of pictures that the model should not answer for: data/ood.csv."""

from dataclasses import dataclass

import numpy as np

from trueslice.tables.base import SIX_DECIMALS, TEXT, Table, column


@dataclass(frozen=True)
class OodDistances(Table):
    """Pictures that are no scan like those of training, some of each kind: data/ood.csv."""

    kind: np.ndarray = column(TEXT)  # such as `photographs`
    distance: np.ndarray = column(SIX_DECIMALS)  # to the training scans, as in `ModelPredictions`
