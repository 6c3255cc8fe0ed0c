"""How alike two pictures are once one is laid over the other: cropped, zoomed, stretched, shifted or slightly turned.

The second picture is resampled so that it fits the first, by Gauss-Newton steps on an affine map, from small thumbnails
to large ones. Each step is one least-squares fit of the resampled picture by the first picture, a constant and the six
pictures by which the first changes when the map does (the inverse compositional algorithm of Baker and Matthews,
Lucas-Kanade 20 years on, IJCV 2004, with brightness and contrast free as in Bartoli, PAMI 2008). All pairs of a block
take their steps together.

All is float64, and what is compared with a threshold is rounded to six decimals: CPUs differ in the last bit.
"""

from typing import NamedTuple

import numpy as np

from tumorclip.data.thumbnails import DECIMALS, shrunk

# Blocks per side, steps, and by how much pictures may fall short of copies afterwards, for what resampling blurs.
LEVELS = ((16, 6, 0.04), (32, 5, 0.03), (64, 4, 0.04))
WINDOW = 9  # blocks per side of the windows for the local correlation
LARGEST_STEP = 0.5  # of half a side; a fit that asks for more has lost its way
RIDGE = 1e-4  # per pixel of unit variance, for pictures in which some change of the map shows nothing


class Alignment(NamedTuple):
    """How well pairs fit: float64 [P], rounded to six decimals."""

    correlation: np.ndarray  # over the overlap
    # Mean correlation within windows of 9 x 9 blocks: all parts of the picture count alike, also those inside a bright
    # skull on black, which alone lifts `correlation` far up.
    local: np.ndarray
    overlap: np.ndarray  # share of the first picture that the second covers, or the reverse, whichever is less


def framed(means: np.ndarray, side: int) -> np.ndarray:
    """Bring pictures to one place, width and height: those of their brightness, by mean and standard deviation.

    From [N, 64, 64] to float64 [N, side, side]; black where there is no picture.
    """
    means = means.astype(np.float64)
    moved, inside = _resample(means, _frames(means), side)
    return (moved * inside).reshape(-1, side, side)


def align(first: np.ndarray, second: np.ndarray, threshold: float, min_overlap: float) -> tuple[np.ndarray, np.ndarray]:
    """Find the affine map from each first picture to its second.

    The search is given up where pictures [P, 64, 64] correlate much less than `threshold` at the end of a level, or
    overlap less than `min_overlap`, both in (0, 1].

    Returns:
        The maps, float64 [P, 2, 3], between coordinates that run from -1 to 1 over a picture; and bool [P], False
        where the search was given up.
    """
    first, second = first.astype(np.float64), second.astype(np.float64)
    maps = _between(_frames(first), _frames(second))
    searching = np.arange(len(first))
    for side, steps, shortfall in LEVELS:
        if not len(searching):
            break
        small, large = _standard(first[searching], side), _standard(second[searching], side)
        finer = _standard(second[searching], min(2 * side, second.shape[1]))
        maps[searching] = _fit(small, large, maps[searching], steps)
        fit = _compare(small, _resample(finer, maps[searching], side), maps[searching])
        searching = searching[(fit.correlation >= threshold - shortfall) & (fit.overlap >= min_overlap)]
    return maps, np.isin(np.arange(len(first)), searching)


def compare(first: np.ndarray, second: np.ndarray, maps: np.ndarray) -> Alignment:
    """How well pictures [P, 128, 128] fit under their maps, float64 [P, 2, 3], in the better of both directions.

    They are resampled at this size and averaged to 64 blocks per side, so that the blur counts for little.
    """
    whole = np.tile(np.eye(3), (len(maps), 1, 1))
    whole[:, :2] = maps
    ways = [(first, second, maps), (second, first, np.linalg.inv(whole)[:, :2])]
    fits = [_compare(_standard(one, 64), _resample(other, found, 64), found) for one, other, found in ways]
    forth = fits[0].local >= fits[1].local
    return Alignment(*(np.where(forth, one, other) for one, other in zip(*fits, strict=True)))


def _frames(means: np.ndarray) -> np.ndarray:
    """Maps float64 [P, 2, 3] from coordinates of +-1 to two standard deviations either way of where brightness lies."""
    x, y = _coordinates(means.shape[1])
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
    """The map that brings the frame `first` to the frame `second`."""
    maps = np.zeros_like(first)
    for axis in range(2):
        maps[:, axis, axis] = second[:, axis, axis] / first[:, axis, axis]
        maps[:, axis, 2] = second[:, axis, 2] - maps[:, axis, axis] * first[:, axis, 2]
    return maps


def _fit(first: np.ndarray, second: np.ndarray, warp: np.ndarray, steps: int) -> np.ndarray:
    """Improve maps float64 [P, 2, 3] from coordinates in `first` to those in `second`, both float64 [P, side, side]."""
    count, side, _ = first.shape
    x, y = _coordinates(side)
    down, across = np.gradient(first, 2 / side, axis=(1, 2))
    columns = [first, np.ones_like(first), across * x, across * y, across, down * x, down * y, down]
    columns = np.stack(columns, axis=1).reshape(count, 8, side * side)
    ridge = np.eye(8) * (RIDGE * side * side)
    for _ in range(steps):
        seen, inside = _resample(second, warp, side)
        covered = columns * inside[:, None]
        found = np.linalg.solve(covered @ columns.swapaxes(1, 2) + ridge, covered @ seen[:, :, None])[..., 0]
        contrast = found[:, :1]
        change = found[:, 2:] / np.where(np.abs(contrast) < 0.1, 0.1, contrast)
        change[np.abs(change).max(axis=1) > LARGEST_STEP] = 0
        step = np.tile(np.eye(3), (count, 1, 1))
        step[:, :2] += change.reshape(-1, 2, 3)
        # second(warp) looks like first(step), so first looks like second(warp after the inverse of step).
        warp = warp @ np.linalg.inv(step)
    return warp


def _compare(first: np.ndarray, resampled: tuple[np.ndarray, np.ndarray], maps: np.ndarray) -> Alignment:
    count, side, _ = first.shape
    seen, inside = (picture.reshape(first.shape) for picture in resampled)
    size = np.abs(maps[:, 0, 0] * maps[:, 1, 1] - maps[:, 0, 1] * maps[:, 1, 0])
    both = np.stack([np.ones_like(first), first, seen, first * first, seen * seen, first * seen]) * inside

    correlation, _ = _correlation(both.mean(axis=(2, 3)))
    distances = np.abs(np.subtract.outer(np.arange(side), np.arange(side)))
    near = (distances <= WINDOW // 2 * side / 64).astype(np.float64)
    local, spread = _correlation(near @ both @ near)
    # Where either picture is even there is nothing to compare.
    counts = inside * (spread > 0.01)
    local = (local * counts).sum(axis=(1, 2)) / np.maximum(counts.sum(axis=(1, 2)), 1)
    overlap = inside.mean(axis=(1, 2)) * np.minimum(size, 1)
    return Alignment(*(measure.round(DECIMALS) for measure in (np.minimum(correlation, 1), local, overlap)))


def _correlation(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation, and geometric mean of the standard deviations, from sums or means of 1, u, v, uu, vv and uv."""
    weight, u, v, uu, vv, uv = sums / np.maximum(sums[:1], 1e-6)
    spread = np.sqrt(np.maximum(uu - u * u, 0) * np.maximum(vv - v * v, 0))
    return (uv - u * v) / np.maximum(spread, 1e-4), np.sqrt(spread)


def _resample(pictures: np.ndarray, maps: np.ndarray, to: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [P, side, side] at mapped places, bilinear, averaged to `to` blocks per side; and 1 where inside.

    Both results are float64 [P, to * to].
    """
    count, side, _ = pictures.shape
    x, y = _coordinates(side)
    grid = np.stack([x.ravel(), y.ravel(), np.ones(side * side)])
    places = (maps @ grid + 1) * (side / 2) - 0.5
    inside = ((places >= -0.5) & (places <= side - 0.5)).all(axis=1).astype(np.float64)
    places = np.clip(places, 0, side - 1.001)
    corner = places.astype(np.int32)
    right, down = (places - corner).swapaxes(0, 1)
    at = np.arange(count, dtype=np.int32)[:, None] * (side * side) + corner[:, 1] * side + corner[:, 0]
    flat = pictures.reshape(-1)
    upper = flat[at] * (1 - right) + flat[at + 1] * right
    lower = flat[at + side] * (1 - right) + flat[at + side + 1] * right
    seen = upper * (1 - down) + lower * down
    if to == side:
        return seen, inside
    seen, inside = (shrunk(picture.reshape(pictures.shape), to).reshape(count, to * to) for picture in (seen, inside))
    return seen, (inside > 0.99).astype(np.float64)


def _standard(means: np.ndarray, side: int) -> np.ndarray:
    """Block means [P, side, side] of thumbnails, with mean 0 and variance 1."""
    smaller = shrunk(means, side)
    smaller = smaller - smaller.mean(axis=(1, 2), keepdims=True)
    return smaller / np.maximum(smaller.std(axis=(1, 2), keepdims=True), 1e-3)


def _coordinates(side: int) -> tuple[np.ndarray, np.ndarray]:
    """x to the right and y down, of the centres of the blocks, from -1 to 1 over the picture: float64 [side, side]."""
    centres = (np.arange(side) + 0.5) * 2 / side - 1
    return np.meshgrid(centres, centres)
