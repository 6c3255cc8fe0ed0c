"""Head phantoms: drawings that look like brain MRI slices, made on the spot and offline.

A patient has one head, with an anatomy, a fold pattern, a view (axial, low axial, coronal or sagittal) and a tumour of
its class. Gliomas are inside the brain: irregular, with a bright rim, a dead core and oedema. Meningiomas are round and
bright and sit on the dura. Pituitary tumours are small and at the midline below. `notumor` has none. Each scan of a
patient is a slice at another height, in one of three contrasts; the picture changes smoothly with the height.

Every head has its own random numbers, and so has every scan: the same seed gives the same bytes however many processes
draw. Everything is computed in float64 and rounded to grey values at the end: CPUs differ in the last bit of an
exponential or a power, and that must not reach a pixel.

Two leaks are planted, so that the checks downstream have something to find. Five training scans in a row show one head.
Of every ten test scans of a class, four show a head that is in Training too, three a head that is not, and three are
copies of training scans: one exact (the same bytes), one near (another contrast, brightness and JPEG quality), one
mirrored left to right (and near as well). Three of every 50 training scans are copies too, in the same three ways.
patients.csv names the patient of each scan, and masks/ marks each tumour.
"""

import io
import math
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from trueslice.lifetime import pool, start_worker
from trueslice.params import PHANTOM_CLASSES as CLASSES
from trueslice.progress import Progress
from trueslice.reading.masks import MASKS, write_mask
from trueslice.tables.base import TEXT, Table, column

SIZE = 192  # pixels per side

# How hard the task is.
FAINT_SHARE = 0.05  # share of tumours that are faint
FAINT_VISIBILITY = (0.25, 0.60)  # 0 cannot be seen, 1 is in full contrast
CLEAR_VISIBILITY = (0.85, 1.00)
TUMOUR_RADIUS = {"glioma": (0.24, 0.34), "meningioma": (0.20, 0.30), "pituitary": (0.14, 0.19)}  # the head's is 0.8
DISTRACTOR_SHARE = 0.12  # share of heads, healthy or not, with a harmless bright vessel, cyst or calcification
CONTRAST_SHARES = (0.90, 0.05, 0.05)  # T1 with contrast agent, T2, FLAIR

# The view hints at the class, as in collections that were put together from several sources: a shortcut, chosen so that
# a small model learns within a minute. The more alike these rows are, the more the tumour itself must be seen. A
# pituitary tumour is in no slice above the eyes.
VIEW_SHARES = {  # axial, axial through the eyes, coronal, sagittal
    "glioma": (0.60, 0.06, 0.22, 0.12),
    "meningioma": (0.12, 0.06, 0.66, 0.16),
    "notumor": (0.70, 0.22, 0.04, 0.04),
    "pituitary": (0.0, 0.06, 0.14, 0.80),
}

FOLDS_TURN = 0.5  # how fast folds change from slice to slice
SLICES = 9  # of one head: five for Training, and the four between them for Testing
COPY_KINDS = ("exact", "near", "mirrored")
# Of every so many scans these, counted from 0, are copies of the training scans so many places earlier.
COPIES = {"Training": (50, (40, 41, 42), 20), "Testing": (10, (7, 8, 9), 0)}
SPLITS = (*COPIES, "Elsewhere")  # the last by another scanner
# x to the right and y down, from -1 to 1: float64 [SIZE, SIZE].
_X, _Y = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE))


class Scanner(NamedTuple):
    """Properties of a scanner; pairs are ranges."""

    size: int  # pixels per side of the files
    zoom: tuple[float, float]
    noise: tuple[float, float]  # standard deviation; white is 1
    bias: float  # strength of the slow change in brightness over the image
    gamma: tuple[float, float]
    quality: tuple[int, int]  # of JPEG


HOME = Scanner(SIZE, (0.98, 1.10), (0.015, 0.04), 0.06, (0.9, 1.15), (82, 96))
ELSEWHERE = Scanner(256, (0.83, 0.93), (0.04, 0.07), 0.15, (0.75, 0.95), (55, 80))


class Scan(NamedTuple):
    """The properties that decide every pixel of one drawing."""

    seed: int
    split: str
    class_name: str
    index: int  # type: ignore[assignment]  # not the method of a tuple

    @property
    def path(self) -> Path:
        """A path like Training/glioma/Tr-gl_0001.jpg; scans by the other scanner have no folder for the split."""
        folder = Path(self.class_name) if self.split == "Elsewhere" else Path(self.split, self.class_name)
        return folder / f"{self.split[:2]}-{self.class_name[:2]}_{self.index:04d}.jpg"

    @property
    def head(self) -> int:
        """The number of the head within its class: the same for all its slices, also across Training and Testing."""
        if self.split == "Training":
            return 2 * (self.index // 5)
        ten, place = divmod(self.index, 10)
        return 2 * ten + (place >= 4)

    @property
    def patient(self) -> str:
        """The name of the patient, like P0012; unique over all classes."""
        return f"P{len(CLASSES) * self.head + CLASSES.index(self.class_name):04d}"

    @property
    def level(self) -> float:
        """The height of the slice in its stack, between -1 and 1; no two of a head have the same."""
        turn = self.index % 5 if self.split == "Training" else 5 + self.index % 10
        return (2 * (2 * turn % SLICES) + 1) / SLICES - 1

    @property
    def view(self) -> "_View":
        """The plane and height in which the head is cut."""
        return _VIEWS[self.random_of_head().choice(len(_VIEWS), p=VIEW_SHARES[self.class_name])]

    def random(self) -> np.random.Generator:
        """Random numbers of this scan alone."""
        return np.random.default_rng([self.seed, SPLITS.index(self.split), CLASSES.index(self.class_name), self.index])

    def random_of_head(self) -> np.random.Generator:
        """Random numbers that all slices of this head share."""
        place = len(SPLITS) + (self.split == "Elsewhere")
        return np.random.default_rng([self.seed, place, CLASSES.index(self.class_name), self.head])


class File(NamedTuple):
    """One file to write: its place, its drawing, and the kind of copy if it is one."""

    place: Scan
    drawing: Scan
    copy: str | None


@dataclass(frozen=True)
class Patients(Table):
    """The patient of each file: patients.csv."""

    path: np.ndarray = column(TEXT)
    patient: np.ndarray = column(TEXT)
    plane: np.ndarray = column(TEXT)


def plan(seed: int, train_per_class: int, test_per_class: int) -> Iterator[File]:
    """Yield every file of a data set, the planted copies among them."""
    for (split, (every, copies, back)), class_name in product(COPIES.items(), CLASSES):
        for index in range(train_per_class if split == "Training" else test_per_class):
            scan = Scan(seed, split, class_name, index)
            if index % every in copies and index - back < train_per_class:
                kind = COPY_KINDS[copies.index(index % every)]
                yield File(scan, Scan(seed, "Training", class_name, index - back), kind)
            else:
                yield File(scan, scan, None)


def plan_elsewhere(seed: int, per_class: int) -> Iterator[File]:
    """Yield every file of the other scanner: of ten, two are copies of training scans and one is of the first."""
    for class_name, index in product(CLASSES, range(per_class)):
        scan = Scan(seed, "Elsewhere", class_name, index)
        ten, place = divmod(index, 10)
        if place in (7, 8):
            yield File(scan, Scan(seed, "Training", class_name, 2 * ten + place - 7), COPY_KINDS[place - 6])
        elif place == 9:
            yield File(scan, scan._replace(index=index - 9), "near")
        else:
            yield File(scan, scan, None)


def draw(into: Path, seed: int, train_per_class: int, test_per_class: int, workers: int) -> None:
    """Write grey JPEGs to `into`/Training/<class>/ and `into`/Testing/<class>/, `into`/patients.csv and `into`/masks/.

    `workers` is the number of processes; 0 takes one per CPU core.
    """
    files = list(plan(seed, train_per_class, test_per_class))
    _draw_files(into, files, workers, into / MASKS)
    rows = [(file.place.path.as_posix(), file.drawing.patient, file.drawing.view.plane) for file in files]
    Patients(*map(np.array, zip(*rows, strict=True))).write(into / "patients.csv")


def draw_other_scanner(into: Path, seed: int, per_class: int, workers: int) -> None:
    """Write scans of other patients by another scanner to `into`/<class>/, as grey JPEGs, for an external test.

    With the seed of `draw`, a few are copies of its training scans, and a few are copies of each other.
    """
    _draw_files(into, list(plan_elsewhere(seed, per_class)), workers)


def _draw_files(into: Path, files: list[File], workers: int, masks: Path | None = None) -> None:
    places = [into] if masks is None else [into, masks]
    for folder in {(place / file.place.path).parent for place in places for file in files}:
        folder.mkdir(parents=True)
    with pool(workers, _start_worker) as processes:
        written = processes.map(_write, [into] * len(files), files, [masks] * len(files), chunksize=8)
        list(Progress(written, total=len(files), desc="drawing", unit="scan"))


def _start_worker() -> None:
    start_worker()
    threadpool_limits(1)  # the workers share the cores
    # Until an array of this size is freed, glibc returns the memory of every picture to the system: a third more time.
    np.empty(2**21)


def _write(into: Path, file: File, masks: Path | None) -> None:
    pixels, quality, inside = render(file.drawing)
    if file.copy in ("near", "mirrored"):
        rng = file.place.random()
        pixels = pixels ** rng.uniform(0.8, 1.25) * rng.uniform(0.85, 1.0)
        quality = int(rng.integers(45, 75))
    if file.copy == "mirrored":
        pixels, inside = pixels[:, ::-1], inside[:, ::-1]
    image = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
    size = ELSEWHERE.size if file.place.split == "Elsewhere" else HOME.size
    jpeg = io.BytesIO()  # since Pillow, writing a JPEG itself, takes no notice of a disk that is full
    image.resize((size, size), Image.Resampling.BICUBIC).save(jpeg, "JPEG", quality=quality)
    (into / file.place.path).write_bytes(jpeg.getvalue())
    if masks is not None and inside.any():
        write_mask(inside, masks, file.place.path.as_posix())


def render(scan: Scan) -> tuple[np.ndarray, int, np.ndarray]:
    """Draw one scan.

    Returns:
        The picture, float64 [SIZE, SIZE] from 0 (black) to 1 (white); the JPEG quality it is to be saved with; and
        where the tumour is, bool [SIZE, SIZE]: without the oedema around it.
    """
    rng, view = scan.random(), scan.view
    scanner, contrasts = (ELSEWHERE, _OTHER_CONTRASTS) if scan.split == "Elsewhere" else (HOME, _CONTRASTS)
    tissue = contrasts[rng.choice(len(contrasts), p=CONTRAST_SHARES)]
    tissue = _Tissue(*(tissue * rng.uniform(0.94, 1.06, len(tissue))))  # no two sequences are timed alike
    # Each part of a head has random numbers of its own: how many of them one takes may change with the height.
    of_skull, of_tumour, of_distractor = scan.random_of_head().spawn(3)
    pen = _Pen(of_skull, rng, scan.level, scanner.zoom)
    tumour = _place_tumour(scan.class_name, view, of_tumour, scan.level)
    if tumour:
        pen.push_away_from(tumour)
    brain = view.draw(pen, tissue)
    pen.rng = of_distractor
    if of_distractor.random() < DISTRACTOR_SHARE:
        _draw_distractor(pen, tissue, view)
    outside = np.ones((SIZE, SIZE))
    if tumour:
        pen.rng, pen.x, pen.y = of_tumour, *pen.undisturbed
        outside = _TUMOURS[scan.class_name](pen, tissue, tumour, brain)
    return _scan(pen.image, rng, scanner), int(rng.integers(*scanner.quality)), outside < 0


# Brightness of each tissue in one kind of MRI contrast, from 0 to 1.
_Tissue = namedtuple("_Tissue", "fat muscle bone marrow fluid grey white dura vessel enhancing dead oedema")
_CONTRASTS = (
    _Tissue(0.58, 0.30, 0.05, 0.32, 0.10, 0.33, 0.48, 0.45, 0.62, 0.98, 0.16, 0.24),  # T1 with contrast agent
    _Tissue(0.50, 0.22, 0.04, 0.26, 0.72, 0.45, 0.30, 0.20, 0.10, 0.92, 0.98, 0.66),  # T2
    _Tissue(0.46, 0.26, 0.04, 0.26, 0.10, 0.43, 0.34, 0.35, 0.45, 0.94, 0.25, 0.66),  # FLAIR
)


# Another sequence: fat is suppressed, agent and cortex show less.
_OTHER_CONTRASTS = tuple(
    tissue._replace(fat=0.5 * tissue.fat, marrow=0.6 * tissue.marrow, enhancing=0.8 * tissue.enhancing)
    for tissue in _CONTRASTS
)


class _Tumour(NamedTuple):
    x: float  # as `radius` in a head that is about 0.8 in radius
    y: float
    radius: float
    visibility: float  # from 0 to 1


class _Pen:
    """An image with the coordinates of a randomly turned, sized, shifted and gently warped head.

    `x` (to the right) and `y` (down) are float64 [SIZE, SIZE]; the head reaches to about 0.85 either way. `rng` gives
    the properties that all slices of the head share, `of_scan` the position in this one, and `level` is as in `Scan`.
    """

    def __init__(self, rng: np.random.Generator, of_scan: np.random.Generator, level: float, zoom: tuple[float, float]):
        self.rng = rng
        # The stack of one patient is higher in the head than another's; 0 is the middle of the head.
        self.height = rng.uniform(-0.45, 0.45) + 0.45 * level
        x = _X - rng.uniform(-0.02, 0.02) - of_scan.uniform(-0.01, 0.01)
        y = _Y - rng.uniform(-0.02, 0.02) - of_scan.uniform(-0.01, 0.01)
        angle = math.radians(rng.normal(0, 4) + of_scan.normal(0, 1))
        size = rng.uniform(*zoom) * of_scan.uniform(0.99, 1.01) * (1 - 0.10 * self.height**2)
        self.x = (math.cos(angle) * x + math.sin(angle) * y) / (size * rng.uniform(0.93, 1.07))
        self.y = (math.cos(angle) * y - math.sin(angle) * x) / (size * rng.uniform(0.93, 1.07))
        self.x = self.x + 0.020 * self.noise(2) + 0.006 * self.noise(7)
        self.y = self.y + 0.020 * self.noise(2) + 0.006 * self.noise(7)
        self.image = np.zeros((SIZE, SIZE))

    def noise(self, cells: int) -> np.ndarray:
        """Smooth noise, float64 [SIZE, SIZE], with about `cells` bumps per side; standard deviation about 1.

        It changes with the height as it does over the image: the finer, the sooner.
        """
        turn = FOLDS_TURN * cells * self.height
        one, other = self.rng.standard_normal((2, cells + 2, cells + 2))
        enlarge = _enlargement(cells + 2)
        return 1.3 * (enlarge @ (math.cos(turn) * one + math.sin(turn) * other).T @ enlarge.T)

    def push_away_from(self, tumour: _Tumour) -> None:
        """Displace all that is drawn later, as a growing mass does."""
        dx, dy = self.x - tumour.x, self.y - tumour.y
        reach = 2.0 * tumour.radius
        pull = 0.40 * np.exp(-(dx**2 + dy**2) / reach**2)
        self.undisturbed = self.x, self.y
        self.x, self.y = self.x - pull * dx, self.y - pull * dy

    def ellipse(self, x: float, y: float, a: float, b: float, turn: float = 0) -> np.ndarray:
        """Approximate distance to an ellipse with half-axes `a`, `b`, turned by `turn` degrees; negative inside."""
        c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        dx, dy = self.x - x, self.y - y
        return (np.sqrt(((c / a) * dx + (s / a) * dy) ** 2 + ((c / b) * dy - (s / b) * dx) ** 2) - 1) * min(a, b)

    def pair(self, x: float, y: float, a: float, b: float, turn: float = 0) -> np.ndarray:
        """Return the distance to an ellipse or its mirror image, whichever is nearer."""
        return np.minimum(*[self.ellipse(side * x, y, a, b, side * turn) for side in (-1, 1)])

    def paint(self, cover: np.ndarray, value: float | np.ndarray) -> None:
        """Lay `value` over the image where `cover` is 1, mixing where it is between 0 and 1."""
        self.image += cover * (value - self.image)

    def fill(self, distance: np.ndarray, value: float | np.ndarray, soft: float = 0.022) -> None:
        self.paint(_inside(distance, soft), value)


@cache
def _enlargement(count: int) -> np.ndarray:
    """Matrix that interpolates `count` values at SIZE places, by Keys' cubic convolution (1981, a = -1/2)."""
    places = (np.arange(SIZE) + 0.5) * count / SIZE - 0.5
    matrix = np.zeros((SIZE, count))
    for neighbour in np.floor(places).astype(int) + np.arange(-1, 3)[:, None]:
        x = np.abs(places - neighbour)
        weight = np.where(x < 1, (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2)
        matrix[np.arange(SIZE), np.clip(neighbour, 0, count - 1)] += weight
    return matrix


def _inside(distance: np.ndarray, soft: float = 0.022) -> np.ndarray:
    """1 where `distance` is negative, 0 where positive, with an edge `soft` wide."""
    return np.clip(0.5 - distance / soft, 0, 1)


def _draw_skull(pen: _Pen, tissue: _Tissue, distance: np.ndarray) -> None:
    """Paint skin and fat, bone with marrow in it, and the fluid around the brain, given the distance to the brain."""
    thickness = pen.rng.uniform(0.75, 1.2)
    uneven = 0.007 * pen.noise(4)
    pen.fill(distance - 0.128 * thickness - uneven, 0.6 * tissue.fat)
    pen.fill(distance - 0.118 * thickness - uneven, tissue.fat * (1 + 0.15 * pen.noise(30)))
    pen.fill(distance - 0.080 * thickness - 0.5 * uneven, tissue.bone)
    pen.paint(0.8 * _inside(np.abs(distance - 0.054 * thickness) - 0.008 - 0.006 * pen.noise(8)), tissue.marrow)
    pen.fill(distance - 0.024, tissue.dura)
    pen.fill(distance - 0.016, tissue.fluid)


def _draw_brain(pen: _Pen, tissue: _Tissue, distance: np.ndarray, fold: float = 1.0) -> None:
    """Paint white matter, a cortex, and furrows in it where noise crosses zero, given the distance to the surface."""
    depth = -distance + 0.02 * pen.noise(9)
    ridges = np.abs(pen.noise(18) + 0.4 * pen.noise(34))
    pen.fill(distance, tissue.white * (1 + 0.03 * pen.noise(12)))
    reach = np.clip(1 - depth / 0.32, 0, 1)
    cortex = np.maximum(_inside(depth - 0.055, 0.03), _inside(ridges - 0.85 * reach, 0.5))
    pen.paint(_inside(distance) * cortex * (reach > 0), tissue.grey)
    furrow = _inside(ridges - 0.34 * fold * reach, 0.4) * _inside(depth - 0.22, 0.1)
    pen.paint(0.9 * _inside(distance) * furrow, tissue.fluid)


def _draw_midline(pen: _Pen, tissue: _Tissue, brain: np.ndarray, top: float, bottom: float) -> None:
    """Paint the furrow between the two halves of the brain from `top` to `bottom`, with the falx in it."""
    wobble = 0.012 * pen.noise(6)
    within = _inside(brain) * _inside(top - pen.y, 0.04) * _inside(pen.y - bottom, 0.04)
    pen.paint(0.8 * within * _inside(np.abs(pen.x + wobble) - 0.016), tissue.fluid)
    pen.paint(0.7 * within * _inside(np.abs(pen.x + wobble) - 0.001, 0.014), tissue.dura)


def _draw_axial(pen: _Pen, tissue: _Tissue) -> np.ndarray:
    rng = pen.rng
    taper = 1 + 0.13 * pen.y
    skull = (np.hypot(pen.x / (0.60 * taper), pen.y / 0.76) - 1) * 0.60
    _draw_skull(pen, tissue, skull)
    _draw_brain(pen, tissue, skull, fold=rng.uniform(0.7, 1.3))
    high = pen.height > 0.45  # a slice above the ventricles
    _draw_midline(pen, tissue, skull, -0.80, 0.80 if high else -0.30)
    if high:
        return skull
    _draw_midline(pen, tissue, skull, 0.36, 0.80)
    wide = rng.uniform(0.75, 1.35) * min(1, 1.3 - 2 * pen.height)
    for side in (-1, 1):
        pen.fill(pen.ellipse(side * 0.20, 0.0, 0.075, 0.17, side * 20), 0.5 * (tissue.grey + tissue.white), 0.05)
        pen.fill(pen.ellipse(side * 0.25, -0.06, 0.055, 0.15, side * 14), tissue.grey, 0.04)
        pen.fill(pen.ellipse(side * 0.105, 0.09, 0.085, 0.12, side * 10), tissue.grey, 0.04)
        front = pen.ellipse(side * 0.085, -0.20, 0.034 * wide, 0.13, side * -24)
        back = pen.ellipse(side * 0.19, 0.30, 0.036 * wide, 0.15, side * -32)
        pen.fill(np.minimum(front, back), tissue.fluid, 0.03)
        pen.paint(0.6 * _inside(pen.ellipse(side * 0.16, 0.25, 0.018, 0.045, side * -32)), tissue.vessel)
        insula = pen.ellipse(side * 0.41, -0.02, 0.020, 0.14, side * -6) + 0.012 * pen.noise(10)
        pen.fill(insula, tissue.fluid, 0.03)
    pen.fill(pen.ellipse(0, 0.07, 0.014 * wide, 0.085), tissue.fluid)
    return skull


def _draw_axial_low(pen: _Pen, tissue: _Tissue) -> np.ndarray:
    """Draw a slice through eyes, temporal lobes, pituitary gland, brain stem and cerebellum."""
    taper = 1 + 0.16 * pen.y
    skull = (np.hypot(pen.x / (0.60 * taper), pen.y / 0.74) - 1) * 0.60
    _draw_skull(pen, tissue, skull)
    pen.fill(np.maximum(skull + 0.01, pen.y + 0.16 - 0.30 * np.abs(pen.x)), tissue.bone)
    pen.fill(np.maximum(skull + 0.02, pen.y + 0.20 - 0.30 * np.abs(pen.x)), tissue.muscle * (1 + 0.25 * pen.noise(16)))
    pen.fill(pen.ellipse(0, -0.50, 0.11, 0.26) + 0.02 * pen.noise(12), tissue.bone)
    pen.fill(pen.pair(0.26, -0.50, 0.13, 0.19, -16), 0.9 * tissue.fat, 0.04)
    pen.fill(pen.pair(0.27, -0.55, 0.098, 0.105), tissue.dura)
    pen.fill(pen.pair(0.27, -0.55, 0.086, 0.093), 0.8 * tissue.fluid + 0.05)
    pen.fill(pen.pair(0.21, -0.34, 0.018, 0.11, 22), tissue.muscle, 0.03)
    pen.fill(np.maximum(skull + 0.015, -0.08 - pen.y), tissue.bone + 0.4 * tissue.marrow * _inside(-pen.noise(14), 1.0))
    temporal = np.maximum(pen.pair(0.34, 0.0, 0.23, 0.22, 28), skull)
    cerebellum = np.maximum(pen.pair(0.22, 0.44, 0.33, 0.25, 18), skull + 0.01)
    stem = pen.ellipse(0, 0.15, 0.13, 0.12)
    cistern = pen.ellipse(0, 0.02, 0.15, 0.14)
    brain = np.minimum(temporal, cerebellum)
    pen.fill(np.maximum(np.minimum(np.minimum(brain, stem), cistern) - 0.02, skull), tissue.fluid, 0.04)
    _draw_brain(pen, tissue, temporal, fold=0.8)
    _draw_cerebellum(pen, tissue, cerebellum, 0, 0.30)
    pen.fill(stem, 0.95 * tissue.white)
    pen.fill(pen.ellipse(0, 0.285, 0.05, 0.028), tissue.fluid)
    _draw_gland(pen, tissue, 0, -0.10)
    pen.fill(pen.pair(0.105, -0.08, 0.026, 0.04), tissue.vessel)
    pen.fill(pen.ellipse(0, 0.01, 0.018, 0.018), tissue.vessel)
    return brain


def _draw_coronal(pen: _Pen, tissue: _Tissue) -> np.ndarray:
    rng = pen.rng
    dome = pen.ellipse(0, -0.16, 0.58, 0.56)
    lobes = np.minimum(pen.pair(0.34, 0.16, 0.21, 0.21, -20), pen.ellipse(0, 0.02, 0.34, 0.22))
    brain = np.minimum(np.maximum(dome, pen.y - 0.10), lobes)
    neck = np.minimum(pen.ellipse(0, 0.45, 0.56, 0.42), pen.ellipse(0, 0.95, 0.46, 0.60))
    pen.fill(neck, 0.8 * tissue.fat)
    pen.fill(neck + 0.035 + 0.015 * pen.noise(8), tissue.muscle * (1 + 0.35 * pen.noise(13)))
    _draw_skull(pen, tissue, np.minimum(brain, pen.ellipse(0, -0.10, 0.56, 0.50)))
    for side in (-1, 1):
        pen.fill(pen.ellipse(side * 0.26, 0.55, 0.10, 0.13, side * 15) + 0.02 * pen.noise(9), tissue.marrow, 0.05)
    pen.fill(pen.ellipse(0, 0.44, 0.16, 0.11) + 0.02 * pen.noise(9), 0.5 * tissue.bone, 0.04)
    pen.fill(pen.ellipse(0, 0.72, 0.12, 0.15) + 0.02 * pen.noise(9), 0.5 * tissue.bone, 0.04)
    pen.fill(brain - 0.02, tissue.fluid, 0.04)
    _draw_brain(pen, tissue, brain, fold=rng.uniform(0.7, 1.3))
    _draw_midline(pen, tissue, brain, -0.80, -0.22)
    wide = rng.uniform(0.75, 1.35) * (1 - 0.5 * pen.height**2)
    for side in (-1, 1):
        pen.fill(pen.ellipse(side * 0.23, -0.02, 0.06, 0.11, side * -12), tissue.grey, 0.04)
        pen.fill(pen.ellipse(side * 0.095, 0.0, 0.075, 0.075), tissue.grey, 0.04)
        pen.fill(pen.ellipse(side * 0.11, -0.145, 0.10, 0.030 * wide, side * 18), tissue.fluid, 0.03)
        rise = pen.y - 0.06 - 0.25 * (np.abs(pen.x) - 0.4) + 0.015 * pen.noise(9)
        cleft = np.maximum(np.abs(rise) - 0.016, 0.33 - side * pen.x)
        pen.paint(0.9 * _inside(np.maximum(cleft, brain)), tissue.fluid)
        pen.fill(pen.ellipse(side * 0.27, 0.21, 0.05, 0.024, side * 15), tissue.fluid, 0.03)
    pen.fill(np.maximum(pen.ellipse(0, -0.20, 0.16, 0.045), -pen.ellipse(0, -0.15, 0.17, 0.045)), tissue.white)
    pen.fill(pen.ellipse(0, -0.01, 0.014 * wide, 0.085), tissue.fluid)
    pen.fill(pen.ellipse(0, 0.235, 0.10, 0.05), tissue.fluid, 0.04)
    _draw_gland(pen, tissue, 0, 0.275)
    pen.fill(pen.pair(0.115, 0.28, 0.030, 0.034), tissue.vessel)
    return brain


def _draw_sagittal(pen: _Pen, tissue: _Tissue) -> np.ndarray:
    """Draw a slice near the midline; the face looks to the left."""
    rng = pen.rng
    upper = np.minimum(pen.ellipse(0.04, -0.22, 0.68, 0.50, -4), pen.ellipse(-0.24, -0.20, 0.42, 0.40))
    cerebrum = np.maximum(upper, pen.y - 0.13 - 0.15 * pen.x)
    cerebellum = pen.ellipse(0.40, 0.20, 0.22, 0.17, 15)
    skull = np.minimum(upper, pen.ellipse(0.34, 0.16, 0.30, 0.24))
    face = np.minimum(pen.ellipse(-0.36, 0.38, 0.36, 0.52, 8), pen.ellipse(-0.69, 0.33, 0.10, 0.14, -25))
    neck = pen.ellipse(0.24, 0.80, 0.36, 0.62)
    soft_parts = np.minimum(face, neck)
    pen.fill(soft_parts, tissue.fat)
    pen.fill(soft_parts + 0.045 + 0.015 * pen.noise(8), tissue.muscle * (1 + 0.35 * pen.noise(13)))
    _draw_skull(pen, tissue, skull)
    pen.fill(pen.ellipse(-0.48, 0.30, 0.19, 0.07, 10) + 0.02 * pen.noise(9), 0.5 * tissue.bone, 0.04)
    pen.fill(pen.ellipse(-0.40, 0.56, 0.24, 0.030, 8), tissue.bone, 0.05)
    pen.fill(pen.ellipse(-0.10, 0.60, 0.045, 0.24, -12), 0.5 * tissue.bone, 0.04)
    pen.fill(pen.ellipse(-0.40, 0.72, 0.22, 0.11, 12), tissue.muscle, 0.05)
    pen.fill(pen.ellipse(-0.26, 0.34, 0.10, 0.075) + 0.02 * pen.noise(9), 0.5 * tissue.bone, 0.03)
    pen.fill(pen.ellipse(-0.03, 0.38, 0.055, 0.17, -28), tissue.marrow, 0.04)
    floor = np.maximum(upper - 0.02, 0.17 + 0.15 * pen.x - pen.y)
    pen.fill(floor, tissue.bone + 0.5 * tissue.marrow * _inside(0.3 - pen.noise(12), 1.0), 0.03)
    cisterns = pen.ellipse(0.12, 0.18, 0.22, 0.20)
    pen.fill(np.minimum(np.minimum(cerebrum, cerebellum), cisterns) - 0.02, tissue.fluid, 0.04)
    _draw_brain(pen, tissue, cerebrum, fold=rng.uniform(0.8, 1.4))
    _draw_cerebellum(pen, tissue, cerebellum, 0.24, 0.18)
    wide = rng.uniform(0.7, 1.4) * (1 - 0.5 * pen.height**2)
    arch = np.maximum(np.abs(pen.ellipse(0.03, -0.10, 0.30, 0.17)) - 0.026, pen.y + 0.06)
    pen.fill(np.maximum(pen.ellipse(0.03, -0.10, 0.28, 0.15), pen.y + 0.02), tissue.fluid * 0.8 + 0.2 * tissue.grey)
    pen.fill(pen.ellipse(0.03, -0.155, 0.20, 0.045 * wide), tissue.fluid, 0.03)
    pen.fill(arch, 1.06 * tissue.white)
    pen.fill(pen.ellipse(0.06, -0.03, 0.13, 0.075), tissue.grey, 0.03)
    stem = np.minimum(pen.ellipse(0.11, 0.20, 0.085, 0.11, -8), pen.ellipse(0.13, 0.08, 0.075, 0.10))
    cord = np.maximum(np.abs(pen.x - 0.16 - 0.12 * (pen.y - 0.3)) - 0.048, np.maximum(0.25 - pen.y, pen.y - 1.2))
    pen.fill(cord - 0.035, tissue.fluid)
    for level in np.arange(0.50, 1.1, 0.135):
        vertebra = np.maximum(np.abs(pen.x - 0.03 - 0.10 * (pen.y - 0.3)) - 0.055, np.abs(pen.y - level) - 0.052)
        pen.fill(vertebra, tissue.marrow)
    pen.fill(np.minimum(stem, cord), 0.95 * tissue.white)
    pen.fill(pen.ellipse(0.225, 0.20, 0.028, 0.065, 10), tissue.fluid)
    _draw_gland(pen, tissue, -0.13, 0.225)
    return np.minimum(cerebrum, cerebellum)


def _draw_cerebellum(pen: _Pen, tissue: _Tissue, distance: np.ndarray, x: float, y: float) -> None:
    """Paint the cerebellum with its fine leaves around (x, y)."""
    leaves = np.sin(75 * np.hypot(pen.x - x, 1.2 * (pen.y - y)) + 1.2 * pen.noise(8))
    pen.fill(distance, tissue.grey)
    pen.paint(_inside(distance + 0.02) * _inside(0.2 - leaves, 0.8) * 0.55, tissue.white)
    pen.paint(_inside(distance) * _inside(leaves + 0.75, 0.4) * 0.45, tissue.fluid)
    pen.fill(distance + 0.11 + 0.02 * pen.noise(9), tissue.white, 0.05)


def _draw_gland(pen: _Pen, tissue: _Tissue, x: float, y: float) -> None:
    """Paint a healthy pituitary gland, which takes up contrast agent too, and its stalk."""
    pen.fill(pen.ellipse(x, y - 0.05, 0.012, 0.05), 0.5 * tissue.enhancing)
    pen.fill(pen.ellipse(x, y, pen.rng.uniform(0.045, 0.065), pen.rng.uniform(0.020, 0.030)), 0.55 * tissue.enhancing)


class _View(NamedTuple):
    """One way to cut a head."""

    plane: str
    draw: Callable[[_Pen, _Tissue], np.ndarray]
    brain: tuple[float, float, float, float]  # as an ellipse (x, y, a, b)
    dura: tuple[tuple[float, float], ...]  # where along the ellipse it can be reached; degrees, 0 to the right, 90 down
    gland: tuple[float, float] | None  # place of the pituitary gland


_VIEWS = (
    _View("axial", _draw_axial, (0, 0, 0.58, 0.74), ((0, 360),), None),
    _View("axial", _draw_axial_low, (0, 0.20, 0.52, 0.46), ((-30, 30), (55, 125), (150, 210)), (0, -0.04)),
    _View("coronal", _draw_coronal, (0, -0.14, 0.57, 0.54), ((-190, 10),), (0, 0.25)),
    _View("sagittal", _draw_sagittal, (0.03, -0.22, 0.70, 0.49), ((-185, 5),), (-0.13, 0.20)),
)


def _place_tumour(class_name: str, view: _View, rng: np.random.Generator, level: float) -> _Tumour | None:
    """Place the tumour as the slice at `level` cuts it: away from the middle it is smaller and a little elsewhere."""
    if class_name == "notumor":
        return None
    radius = rng.uniform(*TUMOUR_RADIUS[class_name]) * math.sqrt(1 - 0.4 * level**2)
    visibility = rng.uniform(*(FAINT_VISIBILITY if rng.random() < FAINT_SHARE else CLEAR_VISIBILITY))
    lean = rng.normal(0, 0.15) * level
    if class_name == "pituitary":
        assert view.gland
        x = view.gland[0] + rng.normal(0, 0.012) + 0.1 * lean
        return _Tumour(x, view.gland[1] - 0.5 * radius + rng.normal(0, 0.012), radius, visibility)
    x, y, a, b = view.brain
    if class_name == "meningioma":
        angle = math.radians(rng.uniform(*view.dura[rng.integers(len(view.dura))])) + lean
        a, b = a - 0.6 * radius, b - 0.6 * radius
    else:
        angle, part = rng.uniform(0, 2 * math.pi) + lean, math.sqrt(rng.uniform(0.06, 0.42))
        a, b = part * a, part * b
    return _Tumour(x + a * math.cos(angle), y + b * math.sin(angle), radius, visibility)


def _lobes(pen: _Pen, tumour: _Tumour, roughness: float) -> np.ndarray:
    """Distance to a closed outline around the tumour's centre, irregular by `roughness`; negative inside."""
    dx, dy = pen.x - tumour.x, pen.y - tumour.y
    distance = np.hypot(dx, dy)
    direction = (dx + 1j * dy) / np.maximum(distance, 1e-9)
    outline = np.ones_like(distance)
    turned = direction
    for k in range(2, 7):
        turned = turned * direction
        phase = pen.rng.uniform(0, 2 * math.pi) + FOLDS_TURN * k * pen.height
        wave = roughness / k * pen.rng.normal() * np.exp(1j * phase)
        outline += (wave * turned).real
    return distance - tumour.radius * np.clip(outline, 0.5, 1.6)


def _draw_glioma(pen: _Pen, tissue: _Tissue, tumour: _Tumour, brain: np.ndarray) -> np.ndarray:
    rng, seen = pen.rng, tumour.visibility
    within = _inside(brain + 0.01)
    edge = _lobes(pen, tumour, 0.42) + 0.12 * tumour.radius * pen.noise(14)
    swelling = edge - tumour.radius * rng.uniform(0.3, 0.9) - 0.35 * tumour.radius * pen.noise(7)
    pen.paint(within * _inside(swelling, 0.10) * (0.35 + 0.5 * seen), tissue.oedema)
    pen.paint(within * _inside(edge, 0.04) * seen, 0.45 * tissue.enhancing + 0.55 * tissue.grey)
    rim = tumour.radius * rng.uniform(0.30, 0.50)
    broken = np.clip(0.75 + 0.45 * pen.noise(9), 0, 1)
    pen.paint(within * _inside(edge, 0.03) * broken * seen, tissue.enhancing)
    if rng.random() < 0.8:
        pen.paint(within * _inside(edge + rim + 0.15 * tumour.radius * pen.noise(11), 0.04) * seen, tissue.dead)
    return np.maximum(edge, brain + 0.01)


def _draw_meningioma(pen: _Pen, tissue: _Tissue, tumour: _Tumour, brain: np.ndarray) -> np.ndarray:
    seen = tumour.visibility
    within = _inside(brain - 0.012)
    edge = _lobes(pen, tumour, 0.12)
    if pen.rng.random() < 0.4:
        pen.paint(within * _inside(edge - 0.5 * tumour.radius - 0.05 * pen.noise(6), 0.12) * 0.6 * seen, tissue.oedema)
    pen.paint(within * _inside(edge - 0.014) * 0.7 * seen, tissue.fluid)
    pen.paint(within * _inside(edge) * seen, tissue.enhancing * (0.95 + 0.03 * pen.noise(14)))
    tail = np.maximum(np.abs(brain) - 0.012, edge - 0.7 * tumour.radius)
    pen.paint(_inside(tail) * seen, tissue.enhancing)
    return np.maximum(edge, brain - 0.012)


def _draw_pituitary(pen: _Pen, tissue: _Tissue, tumour: _Tumour, brain: np.ndarray) -> np.ndarray:
    rng = pen.rng
    below = _lobes(pen, tumour, 0.15)
    above = pen.ellipse(tumour.x, tumour.y - 0.8 * tumour.radius, 0.65 * tumour.radius, 0.6 * tumour.radius)
    edge = np.minimum(below, above) if rng.random() < 0.5 else below
    pen.paint(_inside(edge, 0.03) * tumour.visibility, 0.88 * tissue.enhancing * (1 + 0.06 * pen.noise(12)))
    if rng.random() < 0.2:
        cyst = pen.ellipse(tumour.x, tumour.y, 0.4 * tumour.radius, 0.35 * tumour.radius)
        pen.paint(_inside(cyst, 0.03) * tumour.visibility, tissue.dead)
    return edge


# Each paints a tumour and returns the distance to its outline, negative inside: float64 [SIZE, SIZE].
_TUMOURS = {"glioma": _draw_glioma, "meningioma": _draw_meningioma, "pituitary": _draw_pituitary}


def _draw_distractor(pen: _Pen, tissue: _Tissue, view: _View) -> None:
    """Paint something harmless that could be taken for a tumour."""
    rng = pen.rng
    x, y, a, b = view.brain
    angle, part = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 0.9)
    x, y, size = x + part * a * math.cos(angle), y + part * b * math.sin(angle), rng.uniform(0.025, 0.07)
    kind = rng.integers(3)
    if kind == 0:
        pen.fill(pen.ellipse(x, y, size, size * rng.uniform(0.6, 1)), tissue.fluid, 0.03)
    elif kind == 1:
        pen.fill(pen.ellipse(x, y, 0.4 * size, 1.5 * size, rng.uniform(0, 180)), 0.75 * tissue.enhancing, 0.03)
    else:
        pen.fill(pen.ellipse(x, y, 0.6 * size, 0.6 * size) + 0.01 * pen.noise(20), 0.75 * tissue.enhancing, 0.03)


def _scan(image: np.ndarray, rng: np.random.Generator, scanner: Scanner) -> np.ndarray:
    """Add the effects of a scanner: uneven coils, noise (Rician, as in magnitude images), window and gamma."""
    slope, bend = rng.normal(0, scanner.bias, 2).tolist(), rng.normal(0, scanner.bias, 3).tolist()
    coils = np.exp(slope[0] * _X + slope[1] * _Y + bend[0] * _X * _Y + bend[1] * _X**2 + bend[2] * _Y**2)
    real, imaginary = rng.uniform(*scanner.noise) * rng.standard_normal((2, SIZE, SIZE))
    magnitude = np.hypot(image * coils + real, imaginary)
    return np.clip(magnitude * rng.uniform(0.92, 1.08), 0, 1) ** rng.uniform(*scanner.gamma)
