"""Known scans of a released model: reference.csv."""

from dataclasses import dataclass

import numpy as np

from trueslice.tables.base import TEXT, WHOLE, Table, column, one_of


@dataclass(frozen=True)
class KnownScans(Table):
    """Scans that a released model was trained, validated and tested on: reference.csv in its folder; as in `Splits`."""

    path: np.ndarray = column(TEXT)
    class_name: np.ndarray = column(TEXT, "class")
    split: np.ndarray = column(one_of("train", "val", "test"))
    unit: np.ndarray = column(WHOLE)
