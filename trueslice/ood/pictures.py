"""Pictures that a classifier of brain scans should not answer for, to measure how often it warns of them."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from trueslice.reading.square import fit

COUNT = 200  # pictures of each kind


def pictures(pixels: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Make pictures by kind, uint8 [n, S, S], or [n, S, S, 3], as `pixels` are.

    Some are changed scans, taken evenly from the `rows` of `pixels`, of which there is at least one.
    """
    scans = pixels[rows[np.linspace(0, len(rows) - 1, min(COUNT, len(rows))).astype(int)]]
    generator = np.random.default_rng(0)
    made = {
        "inverted scans": 255 - scans,
        "upside-down scans": scans[:, ::-1],
        "scans turned by a quarter": np.rot90(scans, axes=(1, 2)),
        "photographs": photographs(generator),
        "noise": generator.integers(0, 256, (COUNT, *scans.shape[1:]), dtype=np.uint8),
        "blank pictures": np.stack([np.full(scans.shape[1:], grey, np.uint8) for grey in range(0, 256, 5)]),
    }
    return {kind: np.stack([_like(scans, picture) for picture in some]) for kind, some in made.items()}


def _like(scans: np.ndarray, picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(picture)).convert("L" if scans.ndim == 3 else "RGB")
    return fit(image, scans.shape[1])


def photographs(generator: np.random.Generator) -> list[np.ndarray]:
    """Square parts of scikit-learn's two photographs, a temple in China and a flower: uint8 [s, s, 3] each."""
    found = []
    # Importing scikit-learn for two files would take seconds.
    (package,) = find_spec("sklearn").submodule_search_locations  # type: ignore[union-attr, misc]
    folder = Path(package) / "datasets/images"
    for name in ("china.jpg", "flower.jpg"):
        with Image.open(folder / name) as image:
            photograph = np.asarray(image)
        height, width, _ = photograph.shape
        for _ in range(COUNT // 2):
            side = int(generator.integers(120, min(height, width)))
            top, left = generator.integers(height - side), generator.integers(width - side)
            found.append(photograph[top : top + side, left : left + side])
    return found
