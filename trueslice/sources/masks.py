"""Where masks lie, and how one is written: `trueslice.reading.masks` says what they are."""

from pathlib import Path

import numpy as np
from PIL import Image

MASKS = "masks"  # a folder beside the class folders, which holds no scans


def path_in(folder: Path, scan: str) -> Path:
    """Where the mask of a scan lies; `scan` is its path as in `trueslice.tables.Scans`."""
    return folder / f"{scan}.png"


def write_mask(inside: np.ndarray, folder: Path, scan: str) -> None:
    """Write a mask, bool [H, W], as PNG of one bit per pixel."""
    path = path_in(folder, scan)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not compressed: versions of zlib give different bytes.
    Image.fromarray(inside).save(path, compress_level=0)
