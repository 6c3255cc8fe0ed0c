"""Masks: where the tumour of a scan is, as the source says. They are shown and measured against, never trained on.

The mask of Training/glioma/1.jpg is masks/Training/glioma/1.jpg.png: white inside, black outside, with the width and
height of the scan's file. A scan without one has no known tumour.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tumorclip.data import decode
from tumorclip.data.sources.mask import path_in
from tumorclip.data.thumbnails import ORIENTATIONS
from tumorclip.errors import UserError


def read_masks(folder: Path, scans: Sequence[str], side: int) -> np.ndarray:
    """Read the masks of scans, squared as their pixels are: bool [N, side, side], all False where there is none.

    Raises:
        UserError: the folder is missing, or a mask cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder of masks; set explain.masks to auto, a folder, or null")
    masks = np.zeros((len(scans), side, side), bool)
    for row, scan in enumerate(scans):
        path = path_in(folder, scan)
        if path.exists():
            try:
                with Image.open(path, formats=["PNG"]) as image:
                    masks[row] = decode.fit(image.convert("L"), side) >= 128
            except (OSError, ValueError) as error:
                raise UserError(f"the mask {path} cannot be read ({error}); write it again, or remove it") from None
    return masks


def lay_over(mask: np.ndarray, orientation: str, width: int, height: int) -> np.ndarray:
    """Lay the mask of a slice over a scan that shows this slice.

    Args:
        mask: of the slice: share of each pixel that is tumour from 0 to 255, uint8 [h, w] of any size.
        orientation: how the slice is turned to lie like the scan: one of `thumbnails.KINDS`.
        width, height: of the scan, in pixels; it shows the slice whole, with or without black to the sides.

    Returns:
        bool [height, width]
    """
    side = max(width, height)
    square = ORIENTATIONS[orientation](decode.fit(Image.fromarray(mask), side))
    top, left = (side - height) // 2, (side - width) // 2
    return square[top : top + height, left : left + width] >= 128
