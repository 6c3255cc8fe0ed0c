"""Explanations held against masks: data/explanations.csv."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from trueslice.tables.base import NUMBER, SHARE, TEXT, WHOLE, Table, column


@dataclass(frozen=True)
class Explanations(Table):
    """How well the explanations of test scans point at their tumours, where a mask is known: data/explanations.csv.

    Each comparison has a score of pointing, 0 or 1 or a probability, and the energy, both from 0 to 1.
    """

    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    predicted: np.ndarray = column(TEXT)  # the class that is explained
    unit: np.ndarray = column(WHOLE)  # as in `Predictions`
    area: np.ndarray = column(NUMBER)  # of the tumour, as a share of the head
    pointing: np.ndarray = column(SHARE)
    energy: np.ndarray = column(SHARE)
    uniform: np.ndarray = column(SHARE)  # a point anywhere in the head, and a map that is even over it
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
        """A table without rows."""
        return cls(**{each.name: np.empty(0, each.metadata["kind"].dtype) for each in cls._columns()})
