"""Masks: where the tumour of a scan is, according to the source. They are shown and measured against, never trained on.

The mask of Training/glioma/1.jpg is masks/Training/glioma/1.jpg.png: white inside, black outside, with the width and
height of the scan. A scan without one has no known tumour.
"""

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from trueslice.errors import UserError
from trueslice.reading.images import ImageFrames, why_unreadable
from trueslice.reading.limits import MAX_PIXELS
from trueslice.reading.square import fit

MASKS = "masks"  # a folder next to the class folders, which holds no scans


def mask_path(folder: Path, scan: str) -> Path:
    """Return the path of a scan's mask; `scan` is its path as in `trueslice.tables.scans.Scans`."""
    return folder / f"{scan}.png"


def write_mask(inside: np.ndarray, folder: Path, scan: str) -> None:
    """Write a mask, bool [H, W], as PNG of one bit per pixel."""
    path = mask_path(folder, scan)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not compressed: versions of zlib give different bytes.
    Image.fromarray(inside).save(path, compress_level=0)


def read_masks(folder: Path, scans: Sequence[str], side: int) -> np.ndarray:
    """Read the masks of N scans, fitted into a square like their pixels.

    Returns:
        bool [N, side, side], all False where a scan has no mask.

    Raises:
        UserError: the folder is missing, or a mask cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder of masks; set explain.masks to auto, a folder, or null")
    masks = np.zeros((len(scans), side, side), bool)
    for row, scan in enumerate(scans):
        path = mask_path(folder, scan)
        if os.path.exists(path):  # unlike Path's, it raises nothing where the name is too long
            try:
                with closing(ImageFrames(path, MAX_PIXELS)) as frames:
                    masks[row] = fit(frames.picture(1).image.convert("L"), side) >= 128
            except (OSError, ValueError) as error:
                problem = f"the mask {path} cannot be read: {why_unreadable(error)}"
                raise UserError(f"{problem}; write it again, or remove it") from None
    return masks
