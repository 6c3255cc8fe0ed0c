import numpy as np
import pytest

from trueslice.copies import thumbnails
from trueslice.copies.thumbnails import KINDS, Pictures

SIZES = [16, 50, 64, 100, 224, 257]


@pytest.mark.parametrize("size", SIZES)
def test_thumbnails_are_block_means_of_any_size_in_64ths(size: int):
    pixels = np.random.default_rng(size).integers(0, 256, (3, size, size), dtype=np.uint8)
    # A size that both divide is reached by repeating pixels, which leaves block means as they are.
    rows = pixels.repeat(64, axis=1).reshape(3, 64, size, size).mean(axis=2)
    repeated = rows.repeat(64, axis=2).reshape(3, 64, 64, size).mean(axis=3)
    means = thumbnails.thumbnails(pixels)
    assert means.dtype == np.float32
    assert np.array_equal(means * 64, np.rint(means * 64))
    assert np.abs(means - repeated).max() <= 1 / 128 + 1e-9
    assert np.array_equal(thumbnails.thumbnails(np.stack([pixels] * 3, axis=-1)), means)


def test_the_channels_of_a_colour_scan_count_alike():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    expected = np.rint(pixels.astype(int).sum(axis=-1) * 64 / 3) / 64
    assert np.array_equal(thumbnails.thumbnails(pixels), expected)


@pytest.mark.parametrize("size", [224, 2047])
def test_no_sum_is_too_large_to_be_exact(size: int):
    """White and all but white differ by no more than their pixels do, wherever the one dark pixel lies."""
    pixels = np.full((2, size, size, 3), 255, np.uint8)
    pixels[1, size // 3, size // 2] = 0
    white, spotted = thumbnails.thumbnails(pixels)
    assert (white == 255).all()
    block = (size / 64) ** 2
    assert np.abs(spotted.sum(dtype=float) - (64**2 - 1 / block) * 255) <= 4 / 128


def test_correlations_are_those_of_numpy_rounded_to_six_decimals_in_every_orientation():
    rng = np.random.default_rng(1)
    means = thumbnails.thumbnails(rng.integers(0, 256, (6, 64, 64), dtype=np.uint8))
    means[4] = 12  # an even picture
    pictures = Pictures(means)
    a, b = (ends.ravel() for ends in np.mgrid[:6, :6])
    of_pairs = pictures.correlate_pairs(a, b)
    for column, kind in enumerate(KINDS):
        lying = means.reshape(6, -1)[:, thumbnails.turned(64, kind)]
        with np.errstate(invalid="ignore"):
            expected = np.nan_to_num(np.corrcoef(means.reshape(6, -1), lying)[:6, 6:])
        every = pictures.correlate_all(pictures, kind)
        assert np.allclose(every, expected, atol=6e-7)
        assert np.array_equal(every, every.round(6))
        assert np.array_equal(of_pairs[:, column].reshape(6, 6), every)


def test_turning_a_square_is_what_numpy_does():
    square = np.arange(9).reshape(3, 3)
    expected = {"mirrored": square[:, ::-1], "half_turn": np.rot90(square, 2), "transposed": square.T}
    expected |= {"quarter_turn_right": np.rot90(square, -1), "quarter_turn_left": np.rot90(square)}
    for kind, lying in expected.items():
        assert np.array_equal(square.ravel()[thumbnails.turned(3, kind)], lying.ravel()), kind


def test_products_of_whole_units_are_exact_in_float32_and_close_to_correlations():
    rng = np.random.default_rng(2)
    pictures = np.kron(rng.random((40, 4, 4)), np.ones((4, 4))) + 0.1 * rng.random((40, 16, 16))
    units = thumbnails.whole_units(pictures)
    products = units @ units.T
    assert np.array_equal(products, (units.astype(np.int64) @ units.astype(np.int64).T))
    assert (np.abs(units) @ np.abs(units).T).max() < 2**24
    expected = np.corrcoef(pictures.reshape(40, -1))
    assert np.abs(products / thumbnails.RESOLUTION**2 - expected).max() < 5e-4
