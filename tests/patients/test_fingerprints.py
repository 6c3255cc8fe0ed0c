import base64
import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.linalg import hadamard

from trueslice.copies.thumbnails import KINDS, ORIENTATIONS, thumbnails
from trueslice.patients import fingerprints, slices


def heads(count: int, seed: int = 0) -> np.ndarray:
    """Bright ovals on black with structure that differs: uint8 [count, 256, 256]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 24, 24), dtype=np.uint8)
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    inside = (x / 0.62) ** 2 + (y / 0.78) ** 2 < 1
    smooth = [np.asarray(Image.fromarray(each).resize((256, 256), Image.Resampling.BICUBIC)) for each in coarse]
    return np.stack([np.where(inside, 60 + picture // 2, 0).astype(np.uint8) for picture in smooth])


def changed(pictures: np.ndarray, change) -> np.ndarray:
    """Thumbnails of pictures after a change of each as an image, saved as JPEG of quality 60."""
    result = []
    for picture in pictures:
        buffer = io.BytesIO()
        change(Image.fromarray(picture)).save(buffer, "JPEG", quality=60)
        result.append(np.asarray(Image.open(buffer).resize((256, 256), Image.Resampling.BICUBIC)))
    return thumbnails(np.stack(result))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((160, 160)),
        lambda image: image.resize((640, 640)),
        lambda image: ImageOps.expand(image, 26),
        lambda image: image.crop(image.getbbox()).resize((256, 256)),
        lambda image: image.point(lambda grey: 0.6 * grey),
    ],
    ids=["smaller", "larger", "padded", "cropped to the head", "darker"],
)
def test_a_picture_is_found_among_others_after_it_was_changed(change):
    own = heads(20)
    table = fingerprints.fingerprints(thumbnails(own))
    rows, kinds, differences = fingerprints.nearest(changed(own, change), table)
    assert rows.tolist() == list(range(20)) and set(kinds) == {"near"}
    assert differences.max() <= slices.TOLERANCE / 2
    others = np.delete(table, 0, axis=0)
    assert fingerprints.nearest(thumbnails(own[:1]), others)[2][0] > 2 * slices.TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_the_turn_from_the_other_picture_is_told(kind: str):
    means = thumbnails(heads(5))
    turned = np.stack([ORIENTATIONS[kind](picture) for picture in means])
    rows, kinds, differences = fingerprints.nearest(turned, fingerprints.fingerprints(means))
    assert rows.tolist() == list(range(5)) and set(kinds) == {kind} and differences.max() <= 2


def test_many_pictures_give_the_same_as_one_after_another(monkeypatch: pytest.MonkeyPatch):
    from trueslice.copies import thumbnails as blocks

    means = thumbnails(heads(9))
    table = fingerprints.fingerprints(means[:4])
    expected = fingerprints.nearest(means, table)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1)
    for whole, single in zip(expected, fingerprints.nearest(means, table), strict=True):
        assert whole.tolist() == single.tolist()


def test_a_fingerprint_is_that_of_exact_whole_numbers():
    frames = fingerprints.framed(thumbnails(heads(3)))
    scaled = frames * 64 * (2 * fingerprints.WEIGHTS) ** 2
    whole = scaled.astype(np.int64)
    assert (whole == scaled).all(), "no frame was rounded"
    waves = sorted(hadamard(32).tolist(), key=lambda wave: sum(a != b for a, b in itertools.pairwise(wave)))
    coefficients = np.array(waves) @ whole @ np.array(waves).T
    by_frequency = sorted(((row, column) for row in range(32) for column in range(32)), key=lambda place: sum(place))
    expected = [[values[place] > 0 for place in by_frequency[1:513]] for values in coefficients]
    assert fingerprints.fingerprints(thumbnails(heads(3))).tolist() == expected


@pytest.mark.parametrize("grey", [0, 1, 255])
def test_an_even_picture_is_none_of_the_others(grey: int):
    table = fingerprints.fingerprints(thumbnails(heads(5)))
    assert fingerprints.nearest(thumbnails(np.full((1, 96, 96), grey, np.uint8)), table)[2][0] > slices.TOLERANCE


def test_a_fingerprint_is_read_as_it_was_written():
    bits = fingerprints.fingerprints(thumbnails(heads(1)))[0]
    text = fingerprints.to_text(bits)
    assert len(text) == 86 and (fingerprints.from_text(text) == bits).all()
    assert base64.urlsafe_b64decode(text + "==") == np.packbits(bits).tobytes()
