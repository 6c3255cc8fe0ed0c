"""The tumours of scans that are slices of figshare article 1512427, drawn by its authors, as masks for `explain.masks`.

python -m research.masks SCANS SOURCE FOLDER

SCANS is a folder or .zip in class folders, SOURCE as in research.slices, FOLDER where the masks are written. Scans that
are cropped get none.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from research import figshare
from research.correlation import trace
from trueslice.copies.thumbnails import ORIENTATIONS
from trueslice.files import output_folder
from trueslice.progress import Progress
from trueslice.reading.masks import write_mask
from trueslice.reading.square import fit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, shown in (("scans", "SCANS"), ("source", "SOURCE"), ("folder", "FOLDER")):
        parser.add_argument(name, metavar=shown, type=Path)
    options = parser.parse_args()
    with output_folder(options.folder) as masks:
        write_masks(options.scans, options.source, masks)
    print(f"Masks written to {options.folder}; set explain.masks to it")


def write_masks(scans: Path, source: Path, into: Path) -> None:
    traced, sizes, _ = trace(scans, source, {})
    files = figshare.mat_files(source)
    for number in Progress(np.unique(traced.slice).tolist(), desc="writing masks", unit="slice"):
        with figshare.content_of(*files[number], "has no tumour mask that can be read") as content:
            mask = 255 * (content["tumorMask"][()].T > 0).astype(np.uint8)
        for row in np.flatnonzero(traced.slice == number):
            path = str(traced.path[row])
            write_mask(place_mask(mask, traced.orientation[row], *sizes[path]), into, path)


def place_mask(mask: np.ndarray, orientation: str, width: int, height: int) -> np.ndarray:
    """Transform the mask of a slice, uint8 [h, w] from 0 to 255, to a scan that shows it whole: bool [height, width].

    `orientation` is the turn from the slice to the scan, one of `thumbnails.KINDS`; the scan may have black sides.
    """
    side = max(width, height)
    square = ORIENTATIONS[orientation](fit(Image.fromarray(mask), side))
    top, left = (side - height) // 2, (side - width) // 2
    return square[top : top + height, left : left + width] >= 128


if __name__ == "__main__":
    main()
