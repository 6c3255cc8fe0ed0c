"""Whose scans are in a folder: its slices of the source that names patients, by their pictures."""

import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from trueslice.audit import folders
from trueslice.copies.thumbnails import thumbnails
from trueslice.params import Verify
from trueslice.patients import slices
from trueslice.patients.lookup import class_like
from trueslice.reading.limits import MAX_PIXELS
from trueslice.tables.base import TEXT, WHOLE, Table, column

SIZE = 224  # pixels per side of the square into which every picture is resized


@dataclass(frozen=True)
class Traced(Table):
    """Scans that are slices of the source, by path."""

    path: np.ndarray = column(TEXT)  # in the folder, with forward slashes
    slice: np.ndarray = column(WHOLE)  # number in the source
    orientation: np.ndarray = column(TEXT)  # turn from the slice to the scan
    difference: np.ndarray = column(WHOLE)  # bits of `fingerprints.BITS` in which both differ
    source_id: np.ndarray = column(TEXT)  # from here on as in `trueslice.patients.slices.Slices`
    patient: np.ndarray = column(TEXT)
    source: np.ndarray = column(TEXT)
    source_class: np.ndarray = column(TEXT)
    plane: np.ndarray = column(TEXT)


class Result(NamedTuple):
    """Slices found among N scans."""

    traced: Traced
    scans: int
    unreadable: int
    nearest_other: int | None  # smallest difference of a scan that is no slice; None where all are slices
    misfiled: np.ndarray  # rows of `traced` in a folder that is named after another class


def trace(scans: Path) -> Result:
    """Find the slices of the source among all images of a folder or .zip.

    Raises:
        UserError: it is neither, or holds no image.
    """
    limits: dict[str, Any] = {"image_size": SIZE, "colour": False, "max_pixels": MAX_PIXELS}
    with tempfile.TemporaryDirectory() as place:
        images = folders.read([scans], Path(place), Verify.model_construct(**limits), workers=0)
        found = slices.find(thumbnails(images.pixels))
    is_slice = found.row >= 0
    own = slices.shipped().take(found.row[is_slice])
    traced = Traced(
        path=images.path[is_slice],
        slice=own.slice,
        orientation=found.orientation[is_slice],
        difference=found.difference[is_slice],
        source_id=own.source_id,
        patient=own.patient,
        source=np.full(len(own), slices.SOURCE),
        source_class=own.source_class,
        plane=own.plane,
    )
    nearest_other = int(found.difference[~is_slice].min()) if not is_slice.all() else None
    everywhere = {PurePosixPath(path).parent.name for path in images.path.tolist()}
    misfiled = [row for row in range(len(traced)) if _is_misfiled(traced.path[row], own.source_class[row], everywhere)]
    return Result(traced, len(is_slice), len(images.unreadable[0]), nearest_other, np.array(misfiled, int))


def _is_misfiled(path: str, label: str, everywhere: set[str]) -> bool:
    """Tell whether one of the folders is named after a class, and a scan of this class is in another one."""
    return class_like(label, everywhere) not in ("", PurePosixPath(path).parent.name)
