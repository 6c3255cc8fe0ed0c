"""Pictures of the scans that a released model knows: from the workspace if it has the same, else thumbnails."""

import base64
import io
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image

from trueslice.errors import UserError
from trueslice.inference.reference import Reference, small
from trueslice.report.overlay import COLOURS, STRENGTH
from trueslice.tables.scans import Scans

ROUNDING = 1  # largest difference of grey values between thumbnails of one picture


class Pictures:
    """Pictures of known scans by their path; `folder`, data/scans, may be missing, or be that of another run."""

    def __init__(self, reference: Reference, folder: Path):
        self._reference = reference
        self._known = {path: row for row, path in enumerate(reference.scans.path.tolist())}
        try:
            self._rows = {path: row for row, path in enumerate(Scans.read(folder / "scans.csv").path.tolist())}
            # For its shape alone: a map of a file that is cut short would end the process.
            self._pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        except (OSError, ValueError, UserError):
            self._rows = {}

    def full(self, path: str) -> np.ndarray | None:
        """Return a known scan in full, uint8 [S, S] or [S, S, 3], or None if the workspace lacks it."""
        thumbnail = self._reference.thumbnails[self._known[path]].astype(int)
        row = self._rows.get(path)
        if row is None:
            return None
        shape, start = self._pixels.shape[1:], self._pixels.offset
        try:
            # Anew each time, since `dvc repro` may have replaced it.
            pixels = np.fromfile(self._pixels.filename, np.uint8, prod(shape), offset=start + row * prod(shape))
            is_same = np.abs(small(pixels.reshape(1, *shape), np.array([0]))[0] - thumbnail).max() <= ROUNDING
        except (OSError, ValueError):
            return None
        return pixels.reshape(shape) if is_same else None

    def of(self, path: str) -> np.ndarray:
        """Return a known scan in full if the workspace has it, else its thumbnail, uint8 [64, 64]."""
        full = self.full(path)
        return self._reference.thumbnails[self._known[path]] if full is None else full

    def tests(self, class_name: str | None = None) -> list[str]:
        """List the paths of test scans in the workspace, of one class or of all."""
        scans = self._reference.scans
        chosen = (scans.split == "test") & ((scans.class_name == class_name) | (class_name is None))
        return [path for path in scans.path[chosen].tolist() if path in self._rows]

    def class_of(self, path: str) -> str:
        """Return the true class of a known scan."""
        return str(self._reference.scans.class_name[self._known[path]])


def coloured(heat: np.ndarray) -> np.ndarray:
    """Colour a heat map, float [S, S] from 0 to 1, as a layer over its scan, as in the report: uint8 [S, S, 4]."""
    from matplotlib import colormaps

    shown = np.clip(heat, 0, 1)
    layers = colormaps[COLOURS](shown)
    layers[..., 3] = STRENGTH * shown
    return np.rint(255 * layers).astype(np.uint8)


def colours() -> list[str]:
    """List nine colours of a heat map, from its lowest to its highest value."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps[COLOURS](value)) for value in np.linspace(0, 1, 9)]


def data_url(pixels: np.ndarray) -> str:
    """Return a picture, uint8 [H, W], [H, W, 3] or [H, W, 4], as PNG in a data URL."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
