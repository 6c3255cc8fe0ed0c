"""Pictures that a classifier of brain scans should not answer for, to measure how often it warns of them."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from trueslice.reading.square import fit

COUNT = 200  # pictures of each kind
SIDE = 192  # pixels per side of a drawing
# x to the right and y down, from -1 to 1: float64 [SIDE, SIDE].
_X, _Y = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))


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
        "other organs (drawn)": organs(generator),
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


class _Pen:
    """A picture that is painted part by part, as head phantoms are; each body is placed a little differently."""

    def __init__(self, generator: np.random.Generator):
        self.generator = generator
        size, (right, down) = generator.uniform(0.9, 1.1), generator.uniform(-0.05, 0.05, 2)
        self.x = (_X - right) / size + 0.02 * self.noise(3)
        self.y = (_Y - down) / size + 0.02 * self.noise(3)
        self.image = np.zeros((SIDE, SIDE))

    def noise(self, cells: int) -> np.ndarray:
        """Smooth noise with about `cells` bumps per side and standard deviation 1: float64 [SIDE, SIDE]."""
        coarse = Image.fromarray(self.generator.standard_normal((cells, cells)).astype(np.float32))
        return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)

    def ellipse(self, x: float, y: float, a: float, b: float) -> np.ndarray:
        """Approximate distance to an ellipse, negative inside; its half-axes differ by a tenth each time."""
        a, b = (a, b) * self.generator.uniform(0.9, 1.1, 2)
        return (np.hypot((self.x - x) / a, (self.y - y) / b) - 1) * min(a, b)

    def fill(self, distance: np.ndarray, grey: float) -> None:
        """Paint the inside, where `distance` is negative, with a soft edge and some texture."""
        share = np.clip(0.5 - distance / 0.02, 0, 1)
        texture = grey * self.generator.uniform(0.85, 1.15) * (1 + 0.08 * self.noise(24))
        self.image = self.image * (1 - share) + texture * share

    def scan(self) -> np.ndarray:
        """Return the picture with Rician noise, as in magnitude images: uint8 [SIDE, SIDE]."""
        real, imaginary = 0.03 * self.generator.standard_normal((2, SIDE, SIDE))
        return np.rint(255 * np.clip(np.hypot(self.image + real, imaginary), 0, 1)).astype(np.uint8)


def organs(generator: np.random.Generator) -> list[np.ndarray]:
    """Drawn slices of an abdomen, a knee and a chest: uint8 [SIDE, SIDE] each."""
    pens = [(_Pen(generator), draw) for draw in (_abdomen, _knee, _chest) for _ in range(COUNT // 3)]
    for pen, draw in pens:
        draw(pen)
    return [pen.scan() for pen, _ in pens]


def _abdomen(pen: "_Pen") -> None:
    body = pen.ellipse(0, 0, 0.85, 0.60)
    pen.fill(body, 0.55)
    pen.fill(body + 0.06, 0.30)
    pen.fill(pen.ellipse(-0.35, -0.05, 0.36, 0.34), 0.50)  # liver
    pen.fill(pen.ellipse(0.45, -0.05, 0.16, 0.26), 0.42)  # spleen
    for side in (-1, 1):
        pen.fill(pen.ellipse(side * 0.30, 0.28, 0.10, 0.15), 0.65)  # kidneys
    pen.fill(pen.ellipse(0, 0.36, 0.13, 0.11), 0.75)  # spine
    pen.fill(pen.ellipse(0, 0.36, 0.05, 0.04), 0.15)
    for _ in range(6):
        x, y = pen.generator.uniform(-0.3, 0.4), pen.generator.uniform(-0.4, 0.1)
        pen.fill(pen.ellipse(x, y, 0.07, 0.06), pen.generator.uniform(0.1, 0.8))  # bowel


def _knee(pen: "_Pen") -> None:
    pen.fill(np.abs(pen.x - 0.05 * pen.noise(3)) - 0.55, 0.35)
    for y, sign in ((-0.55, -1), (0.60, 1)):
        shaft = np.maximum(np.abs(pen.x) - 0.20, 0.05 - sign * pen.y)
        pen.fill(np.minimum(shaft, pen.ellipse(0, y - sign * 0.40, 0.34, 0.20)), 0.70)  # femur, tibia
    pen.fill(np.maximum(np.abs(pen.y - 0.02) - 0.025, np.abs(pen.x) - 0.36), 0.15)  # joint
    pen.fill(pen.ellipse(-0.45, -0.15, 0.08, 0.18), 0.65)  # patella
    pen.fill(pen.ellipse(-0.35, 0.10, 0.12, 0.14), 0.85)  # fat pad


def _chest(pen: "_Pen") -> None:
    pen.fill(pen.ellipse(0, 0, 0.88, 0.66), 0.50)
    for side in (-1, 1):
        lung = pen.ellipse(side * 0.42, -0.02, 0.30, 0.46)
        pen.fill(lung, 0.05)
        pen.fill(np.maximum(lung + 0.05, 0.9 - np.abs(pen.noise(9))), 0.35)  # vessels
    pen.fill(pen.ellipse(0.12, -0.10, 0.22, 0.26), 0.60)  # heart
    pen.fill(pen.ellipse(0, 0.45, 0.12, 0.11), 0.75)  # spine
