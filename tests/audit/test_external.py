"""Other data sets: which of their folders count, and which of their scans are copies."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.scan_tables import rows
from trueslice import params
from trueslice.audit import external
from trueslice.copies import search as copies
from trueslice.copies.thumbnails import thumbnails
from trueslice.errors import UserError

PARAMS = params.load(Path(__file__).parents[2] / "params.yaml")
SIZE = 64
VERIFY = PARAMS.verify.model_copy(update={"image_size": SIZE, "max_unreadable": 1})
CLASSES = PARAMS.class_names


def picture(number: int) -> np.ndarray:
    """A smooth picture that resembles no other: uint8 [64, 64]."""
    grey = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
    return np.asarray(Image.fromarray(grey).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def brighter(pixels: np.ndarray) -> np.ndarray:
    return (0.8 * pixels + 40).astype(np.uint8)


def hashes(pixels: np.ndarray) -> np.ndarray:
    return np.array([each.tobytes().hex() for each in pixels])


def images(pixels: np.ndarray) -> copies.ScanImages:
    return copies.ScanImages(pixels, thumbnails(pixels), hashes(pixels))


def paths(pixels: np.ndarray) -> np.ndarray:
    return np.array([f"glioma/{number}.png" for number in range(len(pixels))])


def chosen(source: Path, classes: dict[str, str] | None = None) -> params.External:
    return params.External(name="other", source=str(source), classes=classes)


def fill(folder: Path, counts: dict[str, int]) -> Path:
    """Class folders with some scans each."""
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(picture(100 * number + index)).save(folder / name / f"{index}.png")
    return folder


def test_joined_arrays_give_the_rows_of_one():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3), dtype=np.uint8)
    joined = copies.Joined(pixels[:5], pixels[5:])
    assert (joined.shape, joined.ndim, len(joined)) == (pixels.shape, 4, 9)
    for chosen_rows in (slice(3, 7), slice(0, 9), np.array([8, 0, 5, 5])):
        assert np.array_equal(joined[chosen_rows], pixels[chosen_rows])


def test_a_search_among_new_scans_finds_all_pairs_that_a_search_among_all_finds_with_them():
    known = [picture(0), picture(1), brighter(picture(0)), picture(2), picture(1)]
    new = [brighter(picture(2)), np.fliplr(picture(1)), picture(3), picture(0), brighter(picture(3)), picture(4)]
    pixels = np.stack([*known, *new])
    everything = copies.find(images(pixels), VERIFY, "cpu").pairs
    among_new = copies.find(images(pixels), VERIFY, "cpu", known=len(known)).pairs
    assert rows(among_new) == [row for row in rows(everything) if row[1] >= len(known)]
    assert len(among_new) == 4 and len(everything) == 6


def test_copies_of_development_scans_and_later_copies_within_the_set_are_told():
    known = np.stack([picture(0), picture(1), brighter(picture(1))])
    pixels = np.stack([
        picture(5),  # new
        picture(0),  # exactly a development scan
        np.fliplr(brighter(picture(1))),  # like two of them
        brighter(picture(5)),  # like the first of its own set
        brighter(picture(0)),
        picture(6),
        picture(6),
    ])  # fmt: skip
    group, dropped = external.audit(images(known), np.array([0, 1, 1]), images(pixels), paths(pixels), (VERIFY, "cpu"))
    assert dropped.tolist() == ["", "development", "development", "within", "development", "", "within"]
    assert group.tolist() == [0, 1, 2, 0, 1, 5, 5]


def test_a_copy_of_a_copy_of_a_development_scan_is_one_too(monkeypatch):
    pixels = np.stack([picture(number) for number in range(5)])
    chain = [(1, 3, "near", 0.99), (2, 3, "near", 0.99)]
    pairs = external.Pairs(*map(np.array, zip(*chain, strict=True)))
    monkeypatch.setattr(copies, "find", lambda *_, known: copies.Copies(pairs, np.zeros(5), np.zeros((2, 2, 3))))
    _, dropped = external.audit(
        images(pixels[:2]), np.array([0, 1]), images(pixels[2:]), paths(pixels[2:]), (VERIFY, "cpu")
    )
    assert dropped.tolist() == ["development", "development", ""]


def test_folders_are_renamed_by_the_map_and_others_count_under_their_own_name(tmp_path):
    raw = fill(tmp_path / "raw", {"normal": 2, "glioma": 3, "metastasis": 4})
    (raw / "glioma/broken.png").write_bytes(b"nonsense")
    scans = external.read(raw, tmp_path, chosen(raw, {"normal": "notumor"}), CLASSES, VERIFY, 1)
    assert scans.class_name.tolist() == ["glioma"] * 3 + ["notumor"] * 2
    assert scans.path[-1] == "normal/1.png"
    assert scans.without_class == {"metastasis": 4}
    assert [each.path for each in scans.unreadable] == ["glioma/broken.png"]
    pixels = np.load(tmp_path / "pixels.npy")
    assert np.array_equal(pixels[3], picture(0)) and pixels.shape == (5, SIZE, SIZE)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (None, r"external: other: none of its folders \(ill, well\) is named like a class \(glioma, .*by `classes`"),
        ({"Well": "notumor"}, r"external: other: `classes` names Well, not among its folders \(ill, well\)"),
    ],
)
def test_folders_that_fit_no_class_end_in_one_line(tmp_path, classes, said):
    raw = fill(tmp_path / "raw", {"well": 1, "ill": 1})
    with pytest.raises(UserError, match=said) as error:
        external.read(raw, tmp_path, chosen(raw, classes), CLASSES, VERIFY, 1)
    assert "\n" not in str(error.value)
