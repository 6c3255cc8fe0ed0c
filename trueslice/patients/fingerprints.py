"""Fingerprints of pictures, and the comparison of them in all eight orientations of a square."""

import base64

import numpy as np
from scipy.linalg import hadamard

from trueslice.copies.thumbnails import PARTS, blocks

SIDE, BITS = 32, 512
DARK = 0.35  # what is darker than this part of the picture's own brightness says nothing of its frame
REACH = 1.7  # standard deviations of the brightness from the centre of a frame to its sides
WEIGHTS = 1024  # parts to which the weights of pixels are rounded
# Turns to a picture from another that `nearest` finds: the four flips, and those of the transposed picture.
ORIENTATIONS = (
    *("near", "mirrored", "upside_down", "half_turn"),
    *("transposed", "quarter_turn_left", "quarter_turn_right", "transversed"),
)


def framed(means: np.ndarray) -> np.ndarray:
    """Bring what is bright in thumbnails, [N, 64, 64], to one place and size: float64 [N, SIDE, SIDE].

    So black sides, cropping to the head and stretching change little.
    """
    result = np.empty((len(means), SIDE, SIDE))
    for block in blocks(len(means), 8 * SIDE * means[0].size, share=4):
        result[block] = _framed(means[block].astype(np.float64))
    return result


def _framed(means: np.ndarray) -> np.ndarray:
    """Do the same, in few steps that are rounded, each the same on every CPU; all sums are exact."""
    side = means.shape[1]
    brightness = (means * means).sum(axis=(1, 2)) / np.maximum(means.sum(axis=(1, 2)), 1)
    dark = np.rint(DARK * PARTS * brightness) / PARTS
    bright = np.clip(means - dark[:, None, None], 0, None)
    total = np.maximum(bright.sum(axis=(1, 2)), 1 / PARTS)[:, None]
    places = np.arange(side) - (side - 1) / 2

    def weights(profile: np.ndarray) -> np.ndarray:
        """Weigh rows or columns of pictures for those of their frames, by what is bright in each: [N, SIDE, S]."""
        centre = (profile * places).sum(axis=1, keepdims=True) / total
        spread = np.sqrt(np.maximum((profile * places**2).sum(axis=1, keepdims=True) / total - centre**2, 1))
        seen = centre + spread * (2 * REACH / side * places) + (side - 1) / 2
        near = np.clip(1 - abs(seen[:, :, None] - np.arange(side)), 0, None)
        return np.rint(WEIGHTS * near).reshape(len(means), SIDE, -1, side).mean(axis=2) / WEIGHTS

    return weights(bright.sum(axis=2)) @ means @ weights(bright.sum(axis=1)).swapaxes(1, 2)


def _waves() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the Hadamard transform by frequency, the places of the BITS lowest coefficients, and their flips."""
    waves = hadamard(SIDE)
    waves = waves[np.argsort(np.count_nonzero(np.diff(waves), axis=1))].astype(np.float64)
    row, column = np.divmod(np.arange(SIDE * SIDE), SIDE)
    lowest = np.argsort(row + column, kind="stable")[1 : BITS + 1]  # without the mean
    # Odd waves change their sign when they are flipped.
    return waves, lowest, (2 * (row % 2) + column % 2)[lowest]


WAVES, LOWEST, PARITY = _waves()


def _bits(frames: np.ndarray) -> np.ndarray:
    return (WAVES @ frames @ WAVES.T).reshape(len(frames), SIDE * SIDE)[:, LOWEST] > 0


def fingerprints(means: np.ndarray) -> np.ndarray:
    """Describe thumbnails, [N, 64, 64], by the signs of waves in their frames: bool [N, BITS]."""
    return _bits(framed(means))


def to_text(bits: np.ndarray) -> str:
    """Write a fingerprint, bool [BITS], as 86 letters of base64."""
    return base64.urlsafe_b64encode(np.packbits(bits).tobytes()).decode().rstrip("=")


def from_text(text: str) -> np.ndarray:
    """Read what `to_text` wrote: bool [BITS]."""
    return np.unpackbits(np.frombuffer(base64.urlsafe_b64decode(text + "=="), np.uint8)).astype(bool)


def nearest(means: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find which of M `others`, bool [M, BITS], is most like each thumbnail, [N, 64, 64], however that is turned.

    Return rows of `others`, int [N], the turn from there to the thumbnail, str [N], and the bits that differ, int [N].
    """
    signs = [_signs(others[:, parity == PARITY]).T for parity in range(4)]
    frames = framed(means)
    found = np.empty((len(means), 3), int)
    for block in blocks(len(means), 4 * 3 * len(ORIENTATIONS) * len(others)):
        alike = np.stack([_products(turned, signs) for turned in (frames[block], frames[block].swapaxes(1, 2))], axis=1)
        alike = alike.reshape(len(alike), -1)
        best = alike.argmax(axis=1)
        turns, rows = np.divmod(best, len(others))
        found[block] = np.stack([rows, turns, (BITS - np.take_along_axis(alike, best[:, None], 1)[:, 0]) / 2], axis=1)
    return found[:, 0], np.array(ORIENTATIONS)[found[:, 1]], found[:, 2]


def _products(frames: np.ndarray, signs: list[np.ndarray]) -> np.ndarray:
    """Compare frames with others in the four flips: equal less different bits, float32 [N, 4, M]."""
    bits = _bits(frames)
    parts = np.stack([_signs(bits[:, parity == PARITY]) @ other for parity, other in enumerate(signs)])
    return np.tensordot(hadamard(4).astype(np.float32), parts, 1).swapaxes(0, 1)


def _signs(bits: np.ndarray) -> np.ndarray:
    return np.where(bits, np.float32(1), np.float32(-1))
