"""Copies planted with a stated strength are found; neighbours that look alike are left alone."""

import io
import tracemalloc
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.scan_tables import rows
from trueslice import params
from trueslice.copies import neighbours, thumbnails
from trueslice.copies import search as copies
from trueslice.reading.square import fit
from trueslice.sources import phantom

VERIFY = params.load(Path(__file__).parents[2] / "params.yaml").verify
THRESHOLD = VERIFY.copy_threshold
Change = Callable[[Image.Image], Image.Image]


def head(number: int, class_name: str = "glioma") -> Image.Image:
    """A drawn head, 192 x 192, with a seed of which the alignment misses no copy: it does miss a few."""
    pixels, *_ = phantom.render(phantom.Scan(0, "Training", class_name, 5 * number))
    return Image.fromarray(np.rint(pixels * 255).astype(np.uint8))


HEADS = [head(number, class_name) for class_name in phantom.CLASSES for number in range(6)]


def search(images: list[Image.Image], local_threshold: float = 0.9, device: str = "cpu") -> copies.Copies:
    """What is found among pictures of any size, read as the pipeline reads them."""
    pixels = np.stack([fit(image, 224) for image in images])
    hashes = np.array([image.tobytes().hex() for image in images])
    verify = VERIFY.model_copy(update={"local_threshold": local_threshold})
    return copies.find(copies.ScanImages(pixels, thumbnails.thumbnails(pixels), hashes), verify, device)


def found_among(images: list[Image.Image]) -> list[tuple[int, int, str, float]]:
    """The pairs among them: a, b, kind, correlation."""
    return rows(search(images).pairs)


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


def laid(scale: tuple[float, float], shift: tuple[float, float] = (0, 0), degrees: float = 0) -> Change:
    """Magnify about the centre (across, down), turn, then shift by pixels; what is uncovered is black."""

    def change(image: Image.Image) -> Image.Image:
        size, angle = image.width, np.radians(degrees)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        back = turn / np.array(scale)
        middle = np.array([size, size]) / 2
        start = middle - back @ (middle + shift)
        coefficients = (*back[0], start[0], *back[1], start[1])
        return image.transform(image.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)

    return change


def cropped(share: float) -> Change:
    """Cut away `share` of the width and of the height, half at either end, and bring the rest to the old size."""

    def change(image: Image.Image) -> Image.Image:
        edge = round(share / 2 * image.width)
        kept = image.crop((edge, edge, image.width - edge, image.height - edge))
        return kept.resize(image.size, Image.Resampling.BICUBIC)

    return change


def after(first: Change, second: Change) -> Change:
    return lambda image: second(first(image))


MIRROR = TURNED["mirrored"]
ALIGNED = {
    "shifted by 8 pixels": laid((1, 1), (8, -8)),
    "cropped by 5 %": cropped(0.05),
    "cropped by 10 %": cropped(0.10),
    "stretched by 1.2 across": laid((1.2, 1)),
    "stretched by 1.2 down": laid((1, 1.2)),
    "zoomed out by 0.95": laid((0.95, 0.95)),
    "turned by 5 degrees": laid((1, 1), degrees=5),
    "upside down, cropped by 10 %": after(TURNED["upside_down"], cropped(0.10)),
    "mirrored, shifted by 6 pixels, darker": after(after(MIRROR, laid((1, 1), (6, 0))), toned(lambda grey: 0.7 * grey)),
}


@pytest.mark.parametrize("change", ALIGNED.values(), ids=ALIGNED)
def test_a_copy_that_must_be_aligned_is_found_and_nothing_else(change: Change):
    pairs = found_among([*HEADS, *map(change, HEADS)])
    assert [(a, b) for a, b, _, _ in pairs] == [(row, row + len(HEADS)) for row in range(len(HEADS))]
    assert sum(kind == "aligned" for _, _, kind, _ in pairs) > len(HEADS) / 2


@pytest.mark.parametrize("pixels", [0.5, 1, 2])
def test_a_mirror_image_off_by_a_pixel_is_found_and_nothing_else(pixels: float):
    pairs = found_among([*HEADS, *(laid((1, 1), (pixels, 0))(MIRROR(image)) for image in HEADS)])
    assert [(a, b) for a, b, _, _ in pairs] == [(row, row + len(HEADS)) for row in range(len(HEADS))]


@pytest.mark.parametrize("class_name", phantom.CLASSES)
def test_other_heads_of_one_class_are_not_copies(class_name: str):
    scans = [phantom.Scan(seed, "Training", class_name, 0) for seed in range(100, 140)]
    assert (
        found_among([Image.fromarray(np.rint(255 * phantom.render(scan)[0]).astype(np.uint8)) for scan in scans]) == []
    )


def test_adjacent_slices_of_a_drawn_volume_are_not_copies():
    """Ellipsoids in a bright shell, cut at every 8 % of its radius."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[-1:1:192j, -1:1:192j]
    inside = [
        (rng.uniform(-0.5, 0.5, 3), rng.uniform(0.06, 0.2, 3), rng.uniform(0, 0.9)) for _ in range(150)
    ]  # centre, half-axes, grey
    slices = []
    for height in np.arange(-0.32, 0.33, 0.08):
        radius = np.hypot(x / 0.75, y / 0.9) ** 2 + height**2
        picture = 0.35 * (radius < 1)
        for (cx, cy, cz), (rx, ry, rz), grey in inside:
            picture[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((height - cz) / rz) ** 2 < 1] = grey
        picture[(radius > 0.85) & (radius < 1)] = 0.8
        slices.append(Image.fromarray(np.rint(255 * picture).astype(np.uint8)))
    assert found_among(slices) == []
    plain = np.corrcoef(thumbnails.thumbnails(np.stack(slices)).reshape(len(slices), -1))
    assert np.median(np.diagonal(plain, 1)) > 0.85, "neighbours that are alike enough to be a test"


def test_two_brains_in_one_bright_skull_are_not_copies_though_they_correlate_enough():
    rng = np.random.default_rng(5)
    y, x = np.mgrid[-1:1:192j, -1:1:192j]
    radius = np.hypot(x / 0.7, y / 0.9)
    brains = [np.kron(rng.random((16, 16)), np.ones((12, 12))) * (radius < 0.9) for _ in range(2)]

    skull = 0.8 * ((radius > 0.9) & (radius < 1.05))
    scans = [Image.fromarray(np.rint(255 * (skull + 0.203 * brain)).astype(np.uint8)) for brain in brains]
    assert THRESHOLD < search(scans).best_matches[0] < copies.SURE
    assert found_among(scans) == []
    assert len(search(scans, local_threshold=0.1).pairs) == 1, "but for the windows"


def test_best_matches_are_those_of_all_scans_in_all_orientations():
    images = [*HEADS, NEAR["gamma 0.8"](HEADS[0]), MIRROR(HEADS[1]), HEADS[2]]
    means = thumbnails.thumbnails(np.stack([fit(image, 224) for image in images]))
    others = ~np.eye(len(images), dtype=bool)
    expected = [copies.nearest_training(means[[row]], means[others[row]])[0] for row in range(len(images))]
    assert search(images).best_matches.tolist() == expected
    assert search(images).best_matches[[2, -1]].tolist() == [1, 1]
    assert 0.98 < expected[0] == expected[-3] < 1


def test_pytorch_finds_what_numpy_finds():
    images = [change(image) for change in (jpeg, MIRROR, cropped(0.1)) for image in HEADS[::3]]
    assert rows(search(images, device="cpu:0").pairs) == found_among(images)


@pytest.mark.slow
def test_memory_grows_with_the_number_of_scans_and_not_with_its_square(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(thumbnails, "BLOCK_BYTES", 2**22)
    monkeypatch.setattr(neighbours, "TILE", (128, 512))
    means = np.random.default_rng(0).random((4000, 64, 64), dtype=np.float32)
    tracemalloc.start()
    copies.candidates(means, THRESHOLD)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # How many pairs wait to be sorted depends on which thread is ahead: the peak is near 32 MB, but varies.
    assert peak < 4 * len(means) ** 2, "one number for each pair"


@pytest.mark.parametrize(("kind", "change"), [*(("near", change) for change in NEAR.values()), *TURNED.items()])
def test_a_changed_copy_is_found_and_nothing_else(kind: str, change: Change):
    pairs = found_among([*HEADS, *map(change, HEADS)])
    planted = [(row, row + len(HEADS), kind) for row in range(len(HEADS))]
    assert [pair[:3] for pair in pairs] == planted
    assert all(THRESHOLD <= correlation <= 1 for *_, correlation in pairs)


def test_exact_copies_are_paired_with_the_first_and_compared_once():
    pairs = found_among([HEADS[0], HEADS[1], HEADS[0], TURNED["mirrored"](HEADS[0]), HEADS[0]])
    assert [pair[:3] for pair in pairs] == [
        (0, 2, "exact"), (0, 3, "mirrored"), (0, 4, "exact"),
    ]  # fmt: skip


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
        monkeypatch.setattr(thumbnails, "BLOCK_BYTES", size)
        a, b = copies.candidates(means, THRESHOLD - copies.COARSE_MARGIN)
        _, correlations = copies.best_orientations(means, a, b)
        found = correlations >= THRESHOLD
        assert list(zip(a[found].tolist(), b[found].tolist(), strict=True)) == expected
        assert np.allclose(correlations[found], [correlation[edge] for edge in expected], atol=1e-5)


def test_the_nearest_training_scan_is_the_best_of_all_in_all_orientations(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(3)
    train, test = rng.random((2, 12, 64, 64)).astype(np.float32)
    train[5] = 0.5 * np.rot90(test[0]) + 20  # other contrast and brightness, turned
    train[7] = test[1].T + 0.5 * rng.random((64, 64))
    test[2] = 7  # even: correlates with nothing
    lying = [np.rot90(way, turn, (1, 2)) for way in (train, train.swapaxes(1, 2)) for turn in range(4)]
    every = [[np.corrcoef(a.ravel(), b.ravel())[0, 1] for way in lying for b in way] for a in np.delete(test, 2, 0)]
    expected = np.insert(np.max(every, axis=1), 2, 0)
    for size in (2**26, 2**18):
        monkeypatch.setattr(thumbnails, "BLOCK_BYTES", size)
        nearest = copies.nearest_training(test, train)
        assert nearest.dtype == np.float64
        assert np.allclose(nearest, expected, atol=1e-5)
    assert expected[0] == pytest.approx(1) and 0.8 < expected[1] < 0.95


def test_the_two_scans_least_alike_of_every_group_are_paired_the_most_doubtful_group_first():
    one, two, three = HEADS[0], HEADS[1], HEADS[6]
    images = [one, toned(lambda grey: 0.9 * grey)(one), two, turned(Image.Transpose.ROTATE_180)(two), three, one, two]
    means = thumbnails.thumbnails(np.stack([fit(image, 224) for image in images]))
    # The third group was joined by mistake.
    weakest = copies.weakest_pairs(means, np.array([0, 0, 2, 2, 4, 4, 2]))
    found = list(zip(weakest.group, weakest.files, weakest.a, weakest.b, weakest.kind, strict=True))
    assert [row[:4] for row in found[:1]] == [(4, 2, 4, 5)]
    assert {(files, a, b, kind) for _, files, a, b, kind in found[1:]} == {(2, 0, 1, "near"), (3, 2, 3, "half_turn")}
    correlations = weakest.lowest_correlation
    assert correlations[0] == copies.best_orientations(means, np.array([4]), np.array([5]))[1][0]
    assert correlations[0] < 0.95 < correlations[1] <= 1


def test_the_weakest_pair_of_even_pictures_is_not_a_picture_beside_itself():
    weakest = copies.weakest_pairs(np.zeros((3, 64, 64), np.float32), np.array([0, 1, 1]))
    assert (weakest.a.tolist(), weakest.b.tolist(), weakest.lowest_correlation.tolist()) == ([1], [2], [0])


def test_the_least_alike_are_found_among_more_scans_than_fit_at_once(monkeypatch):
    coarse = np.random.default_rng(0).integers(0, 256, (40, 8, 8))
    means = np.kron(coarse, np.ones((8, 8))).astype(np.float32)
    whole = copies.weakest_pairs(means, np.zeros(40, int))
    monkeypatch.setattr(thumbnails, "BLOCK_BYTES", 100_000)
    assert copies.weakest_pairs(means, np.zeros(40, int)).text() == whole.text()
    pairs = np.array(list(combinations(range(40), 2)))
    kinds, correlations = copies.best_orientations(means, *pairs.T)
    lowest = correlations.argmin()
    assert [whole.a[0], whole.b[0], whole.kind[0]] == [*pairs[lowest], kinds[lowest]]
    assert whole.lowest_correlation[0] == correlations[lowest]
