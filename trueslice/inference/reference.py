"""Known scans of a released model (training, validation and test), with which new scans are compared."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from trueslice.copies import search as copies
from trueslice.copies.thumbnails import FINE, KINDS, RESOLUTION, thumbnails, turned
from trueslice.errors import UserError
from trueslice.explain.similarity import unit_length
from trueslice.ood.distance import coarse, distances, rounded
from trueslice.patients import slices
from trueslice.records.released import ReleasedModel
from trueslice.tables.known import KnownScans
from trueslice.tables.splits import Splits

TABLE, ARRAYS = "reference.csv", "reference.npz"
NEIGHBOURS = 8  # candidates for a copy, by coarse thumbnails
BLOCK = 1024  # scans at once


@dataclass(frozen=True)
class KnownScan:
    """A scan of training, validation or test that a new scan is compared with."""

    path: str  # relative to the data that the pipeline read
    class_name: str
    split: str  # train, val or test
    kind: str  # orientation of the new scan: `near` for the same one, `mirrored`, ...; empty where not compared
    similarity: float  # correlation of thumbnails, or cosine of embeddings


@dataclass(frozen=True)
class Reference:
    """Known scans, in the order of the data."""

    scans: KnownScans  # N of them
    thumbnails: np.ndarray  # block means, uint8 [N, 64, 64]
    embeddings: np.ndarray  # as `unit_length` returns them, float32 [N, F]

    @classmethod
    def select(cls, splits: Splits, thumbnails: np.ndarray, features: np.ndarray) -> Self:
        """Select all scans but dropped ones; `thumbnails`, float32 [M, 64, 64], and `features`, [M, F], are of all."""
        rows = np.flatnonzero(splits.split != "dropped")
        known = splits.take(rows)
        scans = KnownScans(known.path, known.class_name, known.split, known.unit)
        return cls(scans, rounded(thumbnails[rows]), unit_length(features[rows]))

    def write(self, folder: Path) -> None:
        """Write a table and a file of arrays into `folder`."""
        self.scans.write(folder / TABLE)
        np.savez(folder / ARRAYS, thumbnails=self.thumbnails, embeddings=self.embeddings)

    @classmethod
    def read(cls, folder: Path, width: int) -> Self:
        """Read the files of `write` for a model with features of `width`; a UserError if they are damaged."""
        scans = KnownScans.read(folder / TABLE)
        if not (scans.split == "train").any():
            raise UserError(f"{folder / TABLE} has no scan of the split train; {ReleasedModel.advice}")
        shapes = {"thumbnails": ("uint8", (len(scans), FINE, FINE)), "embeddings": ("float32", (len(scans), width))}
        try:
            with np.load(folder / ARRAYS, allow_pickle=False) as file:
                arrays = {name: file[name] for name in shapes}
        except Exception as error:  # NumPy and zipfile raise many kinds
            problem = f"is damaged: it cannot be read, or lacks one of {', '.join(shapes)}"
            raise UserError(f"{folder / ARRAYS} {problem}; {ReleasedModel.advice}") from error
        for name, (kind, shape) in shapes.items():
            found = arrays[name]
            if (found.dtype, found.shape) != (kind, shape) or not np.isfinite(found).all():
                problem = f"{found.dtype} {list(found.shape)}; it must be {kind} {list(shape)}, all finite"
                raise UserError(f"{folder / ARRAYS} is damaged: {name} is {problem}; {ReleasedModel.advice}")
        return cls(scans, **arrays)


def small(pixels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Compute thumbnails of some scans, rounded to whole grey values: uint8 [N, 64, 64]."""
    blocks = np.array_split(rows, 1 + len(rows) // BLOCK)
    return np.concatenate([rounded(thumbnails(pixels[block])) for block in blocks])


class Comparison:
    """Comparison of new scans with all known ones: thumbnails that correlate by `threshold` show the same picture."""

    def __init__(self, reference: Reference, threshold: float):
        self._reference = reference
        self._threshold = threshold
        self._coarse = coarse(reference.thumbnails)
        self._train = self._coarse[reference.scans.split == "train"]

    def distances(self, thumbnails: np.ndarray) -> np.ndarray:
        """Compute the distance to the training scans, from rounded thumbnails, uint8 [B, 64, 64]: float64 [B]."""
        return distances(coarse(thumbnails), self._train)

    def of_training_patients(self, thumbnails: np.ndarray) -> np.ndarray:
        """Tell which new scans, uint8 [B, 64, 64], are slices of patients of whom there are training scans: bool [B].

        Only patients of the source in `trueslice.patients.slices` are known.
        """
        return slices.of_patients(thumbnails, lambda: self._training_patients)

    @cached_property
    def _training_patients(self) -> np.ndarray:
        return slices.patients(self._reference.thumbnails[self._reference.scans.split == "train"])

    def copies(self, thumbnails: np.ndarray) -> list[KnownScan | None]:
        """Find the known scan that each new one, uint8 [B, 64, 64], is a copy of, also mirrored or turned; else None.

        A copy that is cropped, shifted or turned by other angles is not found.
        """
        a, b = self._candidates(coarse(thumbnails))
        known, places = np.unique(a, return_inverse=True)
        means = np.concatenate([self._reference.thumbnails[known], thumbnails]).astype(np.float32)
        kinds, correlations = copies.best_orientations(means, places, len(known) + b)
        found: list[KnownScan | None] = [None] * len(thumbnails)
        for place in np.argsort(correlations, kind="stable"):  # the best one last
            if correlations[place] >= self._threshold:
                how = str(kinds[place]), float(correlations[place])
                found[b[place]] = known_scan(self._reference.scans, a[place], *how)
        return found

    def _candidates(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find pairs of a known scan and a new one, int [P] each, that may be copies."""
        best = units @ self._coarse.T
        for kind in KINDS[1:]:
            np.maximum(best, units[:, turned(copies.COARSE, kind)] @ self._coarse.T, out=best)
        count = min(NEIGHBOURS, best.shape[1])
        nearest = np.argpartition(-best, count - 1, axis=1)[:, :count]
        is_near = np.take_along_axis(best, nearest, 1) >= (self._threshold - copies.COARSE_MARGIN) * RESOLUTION**2
        return nearest[is_near], np.repeat(np.arange(len(units)), count).reshape(-1, count)[is_near]


def known_scan(scans: KnownScans, row: int, kind: str, similarity: float) -> KnownScan:
    """Describe a known scan that is like a new one."""
    return KnownScan(str(scans.path[row]), str(scans.class_name[row]), str(scans.split[row]), kind, similarity)
