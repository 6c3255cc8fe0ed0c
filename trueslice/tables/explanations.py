"""Explanations compared with masks: data/explanations.csv."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from trueslice.tables.base import NUMBER, SHARE, TEXT, WHOLE, Table, column


@dataclass(frozen=True)
class Explanations(Table):
    """Scores of explanations against the masks of test scans that have one: data/explanations.csv.

    `pointing` is 1 if the highest point of the map is in the tumour, else 0 (a probability where the point is drawn).
    `energy` is the share of the map that is in the tumour, from 0 to 1.
    """

    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    predicted: np.ndarray = column(TEXT)  # the class that is explained
    unit: np.ndarray = column(WHOLE)  # as in `Predictions`
    area: np.ndarray = column(NUMBER)  # of the tumour, as a share of the head
    pointing: np.ndarray = column(SHARE)
    energy: np.ndarray = column(SHARE)
    uniform: np.ndarray = column(SHARE)  # both scores of a map that is even over the head
    # The same map against the masks of other patients of the class.
    other_pointing: np.ndarray = column(SHARE)
    other_energy: np.ndarray = column(SHARE)
    fixed_point: np.ndarray = column(SHARE)  # the point that is tumour most often in training and validation scans
    # The same method on the same model with its weights in random order.
    random_pointing: np.ndarray = column(SHARE)
    random_energy: np.ndarray = column(SHARE)
    # The best that the grid of the model allows.
    ceiling_pointing: np.ndarray = column(SHARE)
    ceiling_energy: np.ndarray = column(SHARE)

    @classmethod
    def empty(cls) -> Self:
        """Return a table without rows."""
        return cls(**{each.name: np.empty(0, each.metadata["kind"].dtype) for each in cls._columns()})
