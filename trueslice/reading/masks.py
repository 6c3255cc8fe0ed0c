"""Masks: where the tumour of a scan is, as the source says. They are shown and measured against, never trained on.

The mask of Training/glioma/1.jpg is masks/Training/glioma/1.jpg.png: white inside, black outside, with the width and
height of the scan's file. A scan without one has no known tumour.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from trueslice.errors import UserError
from trueslice.reading import decode
from trueslice.sources.masks import path_in


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
