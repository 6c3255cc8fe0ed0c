import numpy as np
import pytest
from PIL import Image

from trueslice.inference.reading import Square, Unreadable, read
from trueslice.reading.pictures import is_image

SETTINGS = {"image_size": 32, "colour": False, "max_pixels": 10_000}
GREY = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "bmp", "webp", "gif"])
def test_common_formats_give_the_same_square_more_or_less(tmp_path, ending):
    Image.fromarray(GREY).save(tmp_path / f"x.{ending}")
    (found,) = read(tmp_path / f"x.{ending}", SETTINGS)
    assert found.name.endswith(f"x.{ending}") and found.pixels.shape == (32, 32)
    expected = read(GREY, SETTINGS)[0].pixels
    assert np.abs(found.pixels.astype(int) - expected).mean() < 6


def test_frames_are_chosen_never_guessed(tmp_path):
    frames = [Image.fromarray(np.full((8, 8), grey, np.uint8)) for grey in (10, 20, 30)]
    frames[0].save(tmp_path / "x.tif", save_all=True, append_images=frames[1:])
    (found,) = read(tmp_path / "x.tif", SETTINGS)
    assert found.reason == "it holds 3 frames; choose one by --frame N, or take all by --frame all"
    (found,) = read(tmp_path / "x.tif", SETTINGS, 2)
    assert found.name.endswith("x.tif, frame 2") and found.pixels[16, 16] == 20
    assert [each.pixels[16, 16] for each in read(tmp_path / "x.tif", SETTINGS, "all")] == [10, 20, 30]
    (found,) = read(tmp_path / "x.tif", SETTINGS, 4)
    assert found.reason == "it has no frame 4, only 3"


def test_frame_1_of_a_file_with_one_picture_is_that_picture(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "x.png")
    assert isinstance(read(tmp_path / "x.png", SETTINGS, 1)[0], Square)
    assert isinstance(read(tmp_path / "x.png", SETTINGS, "all")[0], Square)
    assert read(tmp_path / "x.png", SETTINGS, 2)[0].reason == "it has no frame 2, only 1"


def test_too_many_pixels_and_huge_files_are_refused_before_they_are_decoded(tmp_path):
    Image.new("L", (200, 200)).save(tmp_path / "big.png")
    assert "40" not in read(tmp_path / "big.png", SETTINGS | {"max_pixels": 40_000})[0].name
    (found,) = read(tmp_path / "big.png", SETTINGS)
    assert found.reason == "200 x 200 pixels are more than verify.max_pixels (10000)"
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(2 * 2**30)
    assert read(tmp_path / "huge.png", SETTINGS)[0].reason.startswith("the file is larger than 200 MB")
    (tmp_path / "empty.png").touch()
    assert read(tmp_path / "empty.png", SETTINGS)[0].reason == "the file is empty"


@pytest.mark.parametrize("array", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros(4, np.uint8)])
def test_other_arrays_are_refused(array):
    (found,) = read(array, SETTINGS)
    assert isinstance(found, Unreadable) and "an array must be uint8 [H, W], grey, or [H, W, 3], RGB" in found.reason


def test_a_name_that_is_not_utf_8_is_read_and_can_be_printed(tmp_path):
    path = tmp_path / b"caf\xe9.png".decode("utf-8", "surrogateescape")
    Image.fromarray(GREY).save(path)
    (found,) = read(path, SETTINGS)
    assert found.name.endswith("caf\\udce9.png")


def test_files_are_known_by_ending_or_as_dicom(tmp_path):
    (tmp_path / "a").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "b.txt").write_text("x")
    assert [
        is_image(tmp_path / name) for name in ("a", "b.txt", "c.PNG", "d.dcm", "e", "f.nii", "g.nii.gz", "h.gz")
    ] == [
        *(1, 0, 1, 1, 0),
        *(1, 1, 0),
    ]
