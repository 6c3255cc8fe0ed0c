"""Copies planted with a stated strength are found; neighbours that look alike are left alone."""

import io
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tumorclip.scans import audit, copies, reading
from tumorclip.scans.sources import phantom

THRESHOLD = 0.98
Change = Callable[[Image.Image], Image.Image]


def head(index: int, class_name: str = "glioma") -> Image.Image:
    """A drawn head, 192 x 192."""
    pixels, _ = phantom.render(phantom.Scan(7, "Training", class_name, index))
    return Image.fromarray(np.rint(pixels * 255).astype(np.uint8))


HEADS = [head(index, class_name) for class_name in phantom.CLASSES for index in range(6)]


def found_among(images: list[Image.Image]) -> list[audit.Pair]:
    """What is found among pictures of any size, read as the pipeline reads them."""
    pixels = np.stack([reading._fit(image, 224) for image in images])
    return copies.find(pixels, [image.tobytes().hex() for image in images], THRESHOLD)


def toned(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """A change of grey values, which are from 0 to 1."""
    return lambda image: Image.fromarray(np.rint(255 * np.clip(change(np.asarray(image) / 255), 0, 1)).astype(np.uint8))


def jpeg(image: Image.Image, quality: int = 30) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def turned(how: Image.Transpose) -> Change:
    return lambda image: jpeg(image.transpose(how), 75)


NEAR = {
    "brightness + 10 % of white": toned(lambda grey: grey + 0.1),
    "brightness × 0.6": toned(lambda grey: 0.6 * grey),
    "contrast × 1.2": toned(lambda grey: 0.5 + 1.2 * (grey - 0.5)),
    "gamma 0.8": toned(lambda grey: grey**0.8),
    "gamma 1.25": toned(lambda grey: grey**1.25),
    "sharpened": lambda image: image.filter(ImageFilter.UnsharpMask(1, 100, 0)),
    "JPEG quality 30": jpeg,
    "resized to 128 pixels": lambda image: image.resize((128, 128), Image.Resampling.LANCZOS),
    "resized to 512 pixels": lambda image: image.resize((512, 512), Image.Resampling.BICUBIC),
}
TURNED = {
    "mirrored": turned(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside_down": turned(Image.Transpose.FLIP_TOP_BOTTOM),
    "half_turn": turned(Image.Transpose.ROTATE_180),
    "transposed": turned(Image.Transpose.TRANSPOSE),
    "transversed": turned(Image.Transpose.TRANSVERSE),
    # Named after how the second scan is turned to lie like the first.
    "quarter_turn_right": turned(Image.Transpose.ROTATE_90),
    "quarter_turn_left": turned(Image.Transpose.ROTATE_270),
}


@pytest.mark.parametrize(("kind", "change"), [*(("near", change) for change in NEAR.values()), *TURNED.items()])
def test_a_changed_copy_is_found_and_nothing_else(kind: str, change: Change):
    pairs = found_among([*HEADS, *map(change, HEADS)])
    planted = [(row, row + len(HEADS), kind) for row in range(len(HEADS))]
    assert [(pair.a, pair.b, pair.kind) for pair in pairs] == planted
    assert all(THRESHOLD <= pair.correlation <= 1 for pair in pairs)


def test_exact_copies_are_paired_with_the_first_and_compared_once():
    pairs = found_among([HEADS[0], HEADS[1], HEADS[0], TURNED["mirrored"](HEADS[0]), HEADS[0]])
    assert [(pair.a, pair.b, pair.kind) for pair in pairs] == [
        (0, 2, "exact"), (0, 3, "mirrored"), (0, 4, "exact"),
    ]  # fmt: skip


def test_the_copies_planted_in_the_phantoms_are_found_and_nothing_else():
    files = list(phantom.plan(5, 50, 20))
    drawn = [phantom.render(file.drawing)[0] for file in files]
    images = [Image.fromarray(np.rint(255 * pixels).astype(np.uint8)) for pixels in drawn]
    row = {file.place: number for number, file in enumerate(files)}
    for number, file in enumerate(files):
        if file.copy in ("near", "mirrored"):
            image = NEAR["gamma 1.25"](images[number])
            images[number] = TURNED["mirrored"](image) if file.copy == "mirrored" else jpeg(image, 50)
    planted = sorted(
        (*sorted((row[file.drawing], number)), file.copy) for number, file in enumerate(files) if file.copy
    )
    assert [(pair.a, pair.b, pair.kind) for pair in found_among(images)] == planted


def test_even_pictures_are_copies_of_nothing():
    even = [Image.new("L", (40, 40), grey) for grey in (0, 1, 128, 255)]
    assert found_among([*even, HEADS[0]]) == []
    assert found_among(even[:1]) == []


def test_every_pair_at_the_threshold_is_found_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    coarse = rng.random((30, 16, 16))
    # Ten further versions of each, closer to and further from it than the threshold.
    smooth = np.concatenate([coarse + rng.uniform(0, 0.1) * rng.random((30, 16, 16)) for _ in range(10)])
    means = np.kron(smooth, np.ones((4, 4))).astype(np.float32)
    flat = means.reshape(len(means), -1).astype(np.float64)
    correlation = np.corrcoef(flat)
    expected = [(a, b) for a, b in combinations(range(len(means)), 2) if correlation[a, b] >= THRESHOLD]
    assert len(expected) > 1000
    for size in (2**26, 2**17):
        monkeypatch.setattr(copies, "BLOCK_BYTES", size)
        pairs = copies.near_copies(copies.candidates(means, THRESHOLD), THRESHOLD)
        assert [(pair.a, pair.b) for pair in pairs] == expected
        assert np.allclose([pair.correlation for pair in pairs], [correlation[edge] for edge in expected], atol=1e-5)


@pytest.mark.parametrize("size", [16, 50, 64, 100])
def test_thumbnails_are_block_means_of_any_size(size: int):
    pixels = np.random.default_rng(size).integers(0, 256, (3, size, size), dtype=np.uint8)
    # A size that both divide is reached by repeating pixels, which leaves block means as they are.
    repeated = np.kron(pixels, np.ones((64, 64))).reshape(3, 64, size, 64, size).mean(axis=(2, 4))
    assert np.allclose(copies.thumbnails(pixels), repeated, atol=1e-3)
    coloured = np.stack([pixels] * 3, axis=-1)
    assert np.allclose(copies.thumbnails(coloured), repeated, atol=1e-3)
