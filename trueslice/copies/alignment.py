"""Alignment of a picture with a cropped, zoomed, stretched, shifted or slightly turned one, and its quality.

The second picture is resampled so that it fits the first, by Gauss-Newton steps on an affine map, from small thumbnails
to large ones. Each step is one least-squares fit of the resampled picture by the first picture, a constant and the six
pictures by which the first changes when the map does (the inverse compositional algorithm of Baker and Matthews,
Lucas-Kanade 20 years on, IJCV 2004, with brightness and contrast free as in Bartoli, PAMI 2008). All pairs of a block
take their steps together, in PyTorch, which resamples, multiplies and solves many small pictures at once.

CPUs differ in the last bit. So pairs that may be copies take their last steps in float64, enough of them that the start
no longer matters, and decisions use float64, rounded to six decimals.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional

from trueslice.copies.thumbnails import DECIMALS, FINE, blocks, linear, shrunk, turned
from trueslice.params import Verify

Part = TypeVar("Part")
Result = TypeVar("Result")


class Level(NamedTuple):
    """A size at which pairs are aligned, and the similarity that they must reach there to be searched further."""

    side: int  # blocks per side
    steps: int
    # By how much they may fall short of copies, since resampling blurs and small windows hide detail.
    correlation: float
    local: float


LEVELS = (Level(16, 6, 0.04, 0.25), Level(32, 5, 0.03, 0.2), Level(64, 2, 0.03, 0.12))
LAST_STEPS = 4
WINDOW = 9  # blocks of 64 per side of the windows for the local correlation
LARGEST_STEP = 0.5  # of half a side; a fit that asks for more has lost its way
RIDGE = 1e-4  # per pixel of unit variance, for pictures in which some change of the map shows nothing
BYTES = 8 * 40  # of working memory for each pixel of a pair, more or less


class Alignment(NamedTuple):
    """Similarity of P aligned pairs, in the dtype of the pictures, to six decimals; NumPy arrays from `compare`."""

    correlation: Tensor  # over the overlap
    # Mean correlation within windows of 9 x 9 blocks: all parts of the picture count alike, also those inside a bright
    # skull on black, which alone lifts `correlation` far up.
    local: Tensor
    overlap: Tensor  # share of the first picture that the second covers, or the reverse, whichever is less


class Thumbnails:
    """Thumbnails float32 [N, 64, 64] in the sizes of all levels, and the frames of their brightness."""

    def __init__(self, means: np.ndarray):
        self.frames = np.concatenate([_frames(means[block]) for block in blocks(len(means), 8 * 8 * FINE**2)])
        # Block means of whole 64ths of a grey value: float32 holds the means of 16 of them exactly too.
        sizes = [shrunk(means, side).astype(np.float32) if side < FINE else means for side, *_ in LEVELS]
        self._sizes = {len(pictures[0]): torch.from_numpy(pictures).flatten(1) for pictures in sizes}

    def standard(self, rows: np.ndarray, side: int, kind: str = "near", dtype: torch.dtype = torch.float32) -> Tensor:
        """Pictures with mean 0 and variance 1, turned by `kind`: `dtype` [P, side, side]."""
        pictures = self._sizes[side][torch.from_numpy(rows)]
        if kind != "near":
            pictures = pictures[:, torch.from_numpy(turned(side, kind))]
        return _standard(pictures.to(dtype).view(-1, side, side))

    def turned_frames(self, rows: np.ndarray, kind: str) -> np.ndarray:
        """Return the frames of pictures turned by `kind`: float64 [P, 2, 3]."""
        turn = linear(kind)
        frames = self.frames[rows]
        return np.concatenate([turn.T @ frames[:, :, :2] @ turn, turn.T @ frames[:, :, 2:]], axis=2)


def framed(means: np.ndarray, side: int) -> np.ndarray:
    """Normalise the position, width and height of pictures [N, 64, 64] by their brightness: float64 [N, side, side]."""
    moved, inside = _resample(torch.from_numpy(means).double(), torch.from_numpy(_frames(means)), side)
    return (moved * inside).numpy()


def align(
    pictures: Thumbnails, pairs: tuple[np.ndarray, np.ndarray], kind: str, params: Verify
) -> tuple[np.ndarray, np.ndarray]:
    """Find the affine map from each first picture to its second, turned by `kind`; `pairs` are rows, int [P] each.

    A search is given up after a level at which the pictures fit much less well than copies do, by `params`. Return the
    pairs whose search was not, int [Q], and their maps, float64 [Q, 2, 3], between places from -1 to 1 over a picture.
    """
    a, b = pairs
    maps = _between(pictures.frames[a], pictures.turned_frames(b, kind))
    searching = np.arange(len(a))

    def refine(level: Level, at: np.ndarray) -> np.ndarray:
        """Improve the maps of the pairs `at`, and return those that are searched further."""
        side, rows = level.side, b[at]
        first, second = pictures.standard(a[at], side), pictures.standard(rows, side, kind)
        warp = _fit(first, second, torch.from_numpy(maps[at]).float(), level.steps)
        maps[at] = warp.double().numpy()
        finer = pictures.standard(rows, min(2 * side, FINE), kind)
        fit = _compare(first, _resample(finer, warp, side), warp, params.copy_threshold - level.correlation)
        good = (fit.local >= params.local_threshold - level.local) & (fit.overlap >= params.min_overlap)
        return at[good.numpy()]

    for level in LEVELS:
        parts = [searching[block] for block in blocks(len(searching), BYTES * level.side**2)]
        kept = side_by_side(partial(refine, level), parts)
        searching = np.concatenate([searching[:0], *kept])
    return searching, maps[searching]


def side_by_side(work: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Do `work` on all parts, in as many threads as PyTorch would take; each takes whole parts.

    PyTorch's own threads, and those of NumPy, share every single operation and wait for each other each time.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, parts))
    finally:
        torch.set_num_threads(threads)


def settle(pictures: Thumbnails, pairs: tuple[np.ndarray, np.ndarray], kind: str, maps: np.ndarray) -> np.ndarray:
    """Take the last steps of the pairs, rows int [P] each, from their maps to better ones, float64 [P, 2, 3]."""
    first = pictures.standard(pairs[0], FINE, "near", torch.float64)
    second = pictures.standard(pairs[1], FINE, kind, torch.float64)
    return _fit(first, second, torch.from_numpy(maps), LAST_STEPS).numpy()


def promising(first: np.ndarray, second: np.ndarray, maps: np.ndarray, least: float) -> np.ndarray:
    """Tell in float32, which is faster, whether pictures as for `compare` correlate at `least` either way: bool [P]."""
    one, other = (_standard(torch.from_numpy(each)) for each in (first, second))
    forth = torch.from_numpy(maps).float()
    reached = _overlay(one, other, forth, np.inf).correlation >= least
    rest = ~reached  # most pairs that are alike show it in the first direction
    reached[rest] = _overlay(other[rest], one[rest], _inverse(forth[rest]), np.inf).correlation >= least
    return reached.numpy()


def compare(first: np.ndarray, second: np.ndarray, maps: np.ndarray) -> Alignment:
    """Compare pictures [P, 128, 128] under their maps, float64 [P, 2, 3], in the better of both directions."""
    one, other = (torch.from_numpy(each).double() for each in (first, second))
    forth = torch.from_numpy(maps)
    fit, fit_back = _overlay(one, other, forth, -1), _overlay(other, one, _inverse(forth), -1)
    better = fit_back.local > fit.local
    chosen = (torch.where(better, behind, ahead) for ahead, behind in zip(fit, fit_back, strict=True))
    return Alignment(*(measure.numpy() for measure in chosen))


def _inverse(maps: Tensor) -> Tensor:
    inverse = torch.linalg.inv(maps[:, :, :2])
    return torch.cat([inverse, -inverse @ maps[:, :, 2:]], dim=2)


def _overlay(first: Tensor, second: Tensor, maps: Tensor, least: float) -> Alignment:
    return _compare(_standard(_shrunk(first, FINE)), _resample(second, maps, FINE), maps, least)


def _frames(means: np.ndarray) -> np.ndarray:
    """Compute the frames of pictures: maps float64 [P, 2, 3] that take ±1 to two standard deviations of brightness."""
    means = means.astype(np.float64)
    x, y = (places.numpy() for places in _coordinates(means.shape[1]))
    dark = np.quantile(means.reshape(len(means), -1), 0.1, axis=1)[:, None, None]
    weight = np.clip(means - dark, 1e-3, None)
    weight = weight / weight.sum(axis=(1, 2), keepdims=True)
    maps = np.zeros((len(means), 2, 3))
    for axis, place in enumerate((x, y)):
        centre = (weight * place).sum(axis=(1, 2))
        spread = np.sqrt((weight * (place - centre[:, None, None]) ** 2).sum(axis=(1, 2)))
        maps[:, axis, axis], maps[:, axis, 2] = 2 * np.maximum(spread, 0.05), centre
    return maps


def _between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the maps from the frames `first` to the frames `second`: float64 [P, 2, 3]."""
    scale = np.stack([second[:, axis, axis] / first[:, axis, axis] for axis in range(2)], axis=1)
    return np.concatenate([np.eye(2) * scale[:, None], (second[:, :, 2] - scale * first[:, :, 2])[:, :, None]], axis=2)


def _fit(first: Tensor, second: Tensor, warp: Tensor, steps: int) -> Tensor:
    """Improve maps [P, 2, 3] from coordinates in `first` to coordinates in `second`, both [P, side, side]."""
    count, side, _ = first.shape
    x, y = (places.to(first.dtype) for places in _coordinates(side))
    down, across = torch.gradient(first, spacing=2 / side, dim=(1, 2))
    seen = torch.empty_like(first)  # in a column of its own: one product gives both sides of the equations
    columns = [first, torch.ones_like(first), across * x, across * y, across, down * x, down * y, down, seen]
    columns = torch.stack(columns, dim=1).view(count, 9, side * side)
    ridge = torch.eye(8, dtype=first.dtype) * (RIDGE * side * side)
    for _ in range(steps):
        seen, inside = _resample(second, warp, side)
        columns[:, 8] = seen.flatten(1)
        products = (columns[:, :8] * inside.flatten(1)[:, None]) @ columns.mT
        found = torch.linalg.solve(products[:, :, :8] + ridge, products[:, :, 8])
        contrast = found[:, :1]
        change = found[:, 2:] / torch.where(contrast.abs() < 0.1, 0.1, contrast)
        change[change.abs().amax(dim=1) > LARGEST_STEP] = 0
        change = change.view(-1, 2, 3)
        # second(warp) looks like first(step), so first looks like second(warp after the inverse of step).
        turn = warp[:, :, :2] @ torch.linalg.inv(torch.eye(2, dtype=first.dtype) + change[:, :, :2])
        warp = torch.cat([turn, warp[:, :, 2:] - turn @ change[:, :, 2:]], dim=2)
    return warp


def _compare(first: Tensor, resampled: tuple[Tensor, Tensor], maps: Tensor, least: float) -> Alignment:
    """Compare pictures [P, side, side] with resampled ones; `local` is -1 where `correlation` is less than `least`."""
    seen, inside = resampled
    size = torch.linalg.det(maps[:, :, :2]).abs()
    both = torch.stack([torch.ones_like(first), first, seen, first * first, seen * seen, first * seen]) * inside
    correlation, _ = _correlation(both.mean(dim=(2, 3)))
    alike = correlation >= least
    local = torch.full_like(correlation, -1)
    local[alike] = _local(both[:, alike])
    overlap = inside.mean(dim=(1, 2)) * size.clamp(max=1)
    return Alignment(*(measure.round(decimals=DECIMALS) for measure in (correlation.clamp(max=1), local, overlap)))


def _local(both: Tensor) -> Tensor:
    """Compute the mean correlation within windows from the planes of `_correlation`, [6, P, side, side]: [P]."""
    reach = WINDOW // 2 * both.shape[2] // FINE
    local, spread = _correlation(_windows(_windows(both, reach, 2), reach, 3))
    # Where either picture is even there is nothing to compare.
    counts = both[0] * (spread > 0.01)
    return (local * counts).sum(dim=(1, 2)) / counts.sum(dim=(1, 2)).clamp(min=1)


def _windows(planes: Tensor, reach: int, dim: int) -> Tensor:
    """Sum over windows of 2 * `reach` + 1 places, `reach` a power of two, cut off at the borders."""
    length = planes.shape[dim]
    sums = functional.pad(planes, (reach, reach) if dim == 3 else (0, 0, reach, reach))
    last = sums.narrow(dim, 2 * reach, length)
    width = 1
    while width <= reach:
        count = sums.shape[dim] - width
        sums = sums.narrow(dim, 0, count) + sums.narrow(dim, width, count)
        width *= 2
    return sums.narrow(dim, 0, length) + last


def _correlation(sums: Tensor) -> tuple[Tensor, Tensor]:
    """Compute correlation and geometric mean of the standard deviations from sums or means of 1, u, v, uu, vv, uv."""
    _weight, u, v, uu, vv, uv = sums / sums[:1].clamp(min=1e-6)
    spread = ((uu - u * u).clamp(min=0) * (vv - v * v).clamp(min=0)).sqrt()
    return (uv - u * v) / spread.clamp(min=1e-4), spread.sqrt()


def _resample(pictures: Tensor, maps: Tensor, to: int) -> tuple[Tensor, Tensor]:
    """Sample pictures at mapped places, bilinear, averaged to [P, to, to]; and 1 where inside, of the same shape."""
    side = pictures.shape[1]
    places = _places(maps, side).permute(0, 2, 3, 1)
    seen = functional.grid_sample(pictures[:, None], places, padding_mode="border", align_corners=False)[:, 0]
    # How far the places that are averaged lie from the middle one.
    reach = maps[:, :, :2].abs().sum(dim=2) * (1 / to - 1 / side)
    inside = (_places(maps, to).abs() + reach[:, :, None, None]).amax(dim=1) <= 1
    return _shrunk(seen, to), inside.to(maps.dtype)


def _places(maps: Tensor, side: int) -> Tensor:
    """Map the centres of the blocks: x and y [P, 2, side, side], in planes of their own."""
    across, down, shift = maps[..., None].unbind(dim=2)
    centres = _centres(side).to(maps.dtype)
    # Sums are faster than the products of functional.affine_grid.
    return (across * centres)[:, :, None, :] + (down * centres + shift)[:, :, :, None]


def _shrunk(pictures: Tensor, side: int) -> Tensor:
    """Halve pictures until they are [P, side, side]; sums of slices are faster than functional.avg_pool2d."""
    while pictures.shape[1] > side:
        rows = pictures[:, ::2] + pictures[:, 1::2]
        pictures = (rows[:, :, ::2] + rows[:, :, 1::2]) / 4
    return pictures


def _standard(pictures: Tensor) -> Tensor:
    """Scale pictures [P, side, side] to mean 0 and variance 1."""
    pictures = pictures - pictures.mean(dim=(1, 2), keepdim=True)
    return pictures / pictures.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-3)


def _coordinates(side: int) -> tuple[Tensor, Tensor]:
    """Centres of the blocks, x to the right and y down, from -1 to 1 over the picture: float64 [side, side] each."""
    return torch.meshgrid(_centres(side), _centres(side), indexing="xy")


def _centres(side: int) -> Tensor:
    return (torch.arange(side, dtype=torch.float64) + 0.5) * 2 / side - 1
