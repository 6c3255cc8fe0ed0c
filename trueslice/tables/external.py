"""Predictions of other data sets: plots/external.csv."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from trueslice.tables.base import CLASS, SHARE, TEXT, WHOLE, Table, column, one_of
from trueslice.tables.predictions import check_answers


@dataclass(frozen=True)
class ExternalPredictions(Table):
    """Predictions of the fine-tuned model for other data sets, one after another: plots/external.csv."""

    class_names: tuple[str, ...]  # as in `Predictions`
    name: np.ndarray = column(TEXT, "set")  # of the data set
    path: np.ndarray = column(TEXT)  # in the data set
    pixel_hash: np.ndarray = column(TEXT)
    # The same for copies of each other within the data set and for frames of one file: the row of the first.
    group: np.ndarray = column(WHOLE)
    # Why it is not scored: `development` for a copy of a scan that the model was developed on, `within` for a copy
    # of an earlier scan of its own data set; empty where it is scored.
    dropped: np.ndarray = column(one_of("", "development", "within"))
    y_true: np.ndarray = column(CLASS)
    y_pred: np.ndarray = column(CLASS)
    probabilities: np.ndarray = column(SHARE, "probability_", per_class=True)

    def _check(self) -> None:
        check_answers(self.path, self.y_pred, self.probabilities)
        if len({*zip(self.name.tolist(), self.path.tolist(), strict=True)}) < len(self):
            raise ValueError("a path is twice in a data set")

    @classmethod
    def empty(cls, class_names: Sequence[str]) -> Self:
        """Return a table without rows."""
        text, whole = np.empty(0, str), np.empty(0, int)
        return cls(tuple(class_names), text, text, text, whole, text, whole, whole, np.empty((0, len(class_names))))
