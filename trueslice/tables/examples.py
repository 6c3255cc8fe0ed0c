"""Test scans to look at: data/examples.csv."""

from dataclasses import dataclass

import numpy as np

from trueslice.tables.base import SHARE, TEXT, WHOLE, Table, column, one_of


@dataclass(frozen=True)
class Examples(Table):
    """Test scans to look at, with the training scans that the model finds most similar: data/examples.csv."""

    kind: np.ndarray = column(one_of("mistake", "hit", "example"))  # a confident mistake, a doubtful hit, or any
    row: np.ndarray = column(WHOLE)  # row of plots/predictions.csv and of data/explanations.npy
    scan: np.ndarray = column(WHOLE)  # row of scans.csv, as are the next three
    nearest_1: np.ndarray = column(WHOLE)
    nearest_2: np.ndarray = column(WHOLE)
    nearest_3: np.ndarray = column(WHOLE)
    class_name: np.ndarray = column(TEXT, "class")
    predicted: np.ndarray = column(TEXT)
    probability: np.ndarray = column(SHARE)  # of the predicted class
