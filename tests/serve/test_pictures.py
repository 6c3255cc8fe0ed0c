"""Which picture of a known scan the page shows."""

import shutil

import numpy as np
import pytest

from trueslice.inference.reference import Reference
from trueslice.serve.pictures import Pictures, coloured


@pytest.fixture
def reference(released) -> Reference:
    return Reference.read(released / "models/released", width=128)


@pytest.fixture
def scans(released, tmp_path):
    """A copy of data/scans."""
    return shutil.copytree(released / "data/scans", tmp_path / "scans")


def test_a_known_scan_is_shown_as_the_workspace_has_it(reference, scans):
    pictures = Pictures(reference, scans)
    stored = np.load(scans / "pixels.npy")
    for path in pictures.tests():
        assert (stored == pictures.full(path)).all(axis=(1, 2)).any()


@pytest.mark.parametrize("lost", ["scans.csv", "pixels.npy"])
def test_without_a_workspace_thumbnails_are_shown_and_no_test_scan_is_offered(reference, scans, lost):
    (scans / lost).unlink()
    pictures = Pictures(reference, scans)
    path = str(reference.scans.path[0])
    assert pictures.full(path) is None and pictures.tests() == []
    assert (pictures.of(path) == reference.thumbnails[0]).all()


def test_a_picture_of_another_run_is_not_taken_for_the_known_scan(reference, scans):
    pixels = np.load(scans / "pixels.npy")
    np.save(scans / "pixels.npy", np.roll(pixels, 1, axis=0))
    pictures = Pictures(reference, scans)
    assert not any(pictures.full(path) is not None for path in pictures.tests())


@pytest.mark.parametrize("change", ["cut", "emptied", "deleted", "replaced", "grown"])
def test_a_workspace_that_changes_while_it_is_shown_ends_nothing_and_shows_no_other_scan(reference, scans, change):
    pictures, file = Pictures(reference, scans), scans / "pixels.npy"
    path = pictures.tests()[-1]
    assert pictures.full(path) is not None
    if change in ("cut", "emptied"):
        with file.open("r+b") as opened:
            opened.truncate(0 if change == "emptied" else 1000)
    elif change == "deleted":
        file.unlink()
    else:
        pixels = np.load(file)
        np.save(file, pixels[::-1] if change == "replaced" else pixels.repeat(2, axis=1))
    assert all(pictures.full(each) is None for each in pictures.tests())
    assert (pictures.of(path) == reference.thumbnails[reference.scans.path.tolist().index(path)]).all()


def test_a_map_is_most_opaque_where_it_is_highest_and_leaves_the_rest_of_the_scan_as_it_is():
    layer = coloured(np.array([[0.0, 0.5], [1.0, 2.0]], np.float32))
    assert layer.dtype == np.uint8 and layer.shape == (2, 2, 4)
    opacity = layer[..., 3]
    assert opacity[0, 0] == 0 < opacity[0, 1] < opacity[1, 0] == opacity[1, 1] < 255


def test_a_damaged_workspace_is_as_good_as_none(reference, scans):
    (scans / "scans.csv").write_text("path\n")
    assert Pictures(reference, scans).tests() == []
