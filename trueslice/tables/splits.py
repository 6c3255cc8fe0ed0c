"""Training, validation and test: data/splits.csv."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trueslice.tables.base import LEAK, TEXT, WHOLE, Table, column, one_of


@dataclass(frozen=True)
class Splits(Table):
    """The part that each scan is in: data/splits.csv, in the order of scans.csv. Other columns are as in `Scans`."""

    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    pixel_hash: np.ndarray = column(TEXT)
    group: np.ndarray = column(WHOLE)
    patient: np.ndarray = column(TEXT)
    # The independent unit: the scans of a patient with all their copies, or, where no patient is known, copies of each
    # other and the frames of a file. The row number of the first of them.
    unit: np.ndarray = column(WHOLE)
    split: np.ndarray = column(one_of("train", "val", "test", "dropped"))
    reason: np.ndarray = column(TEXT)  # why it was dropped; empty elsewhere
    # Of the published test set: `copy` with a copy in the published Training folder, `patient` without a copy but with
    # the same patient there; else empty.
    leaked: np.ndarray = column(LEAK)

    def columns_of(self, part: str, class_names: Sequence[str]) -> dict[str, Any]:
        """Return the fields of `Predictions` that are known of the scans of one part, such as `test`, in advance.

        Raises:
            ValueError: one of these scans is of a class that is not among `class_names`.
        """
        own = self.take(self.split == part)
        return {name: getattr(own, name) for name in ("path", "pixel_hash", "group", "patient", "unit", "leaked")} | {
            "class_names": tuple(class_names),
            "exposure": self._exposure(own, part),
            "y_true": np.array([class_names.index(name) for name in own.class_name], dtype=int),
        }

    def _exposure(self, own: "Splits", part: str) -> np.ndarray:
        fitted = self.take(np.isin(self.split, ["train", "val"]) & (self.split != part))
        # A copy of a patient's scan is the patient's too, and a unit of no patient is a group of copies.
        is_known = np.isin(own.unit, self.unit[self.patient != ""])
        cases = [np.isin(own.group, fitted.group), np.isin(own.unit, fitted.unit), is_known]
        return np.select(cases, ["copy", "patient", "neither"], "unknown")
