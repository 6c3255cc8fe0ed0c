from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trueslice.errors import UserError
from trueslice.reading.masks import read_masks, write_mask


def test_masks_are_white_inside_and_missing_ones_are_empty(tmp_path: Path):
    inside = np.zeros((32, 32), bool)
    inside[4:9, 10:20] = True
    write_mask(inside, tmp_path, "a/1.jpg")
    masks = read_masks(tmp_path, ["a/1.jpg", "a/2.jpg"], 32)
    assert np.array_equal(masks[0], inside) and not masks[1].any()


def test_a_damaged_mask_is_named_in_words_of_ours(tmp_path: Path, capfd):
    write_mask(np.eye(64, dtype=bool), tmp_path, "1.jpg")
    mask = tmp_path / "1.jpg.png"
    mask.write_bytes(mask.read_bytes()[:90])
    with pytest.raises(UserError) as error:
        read_masks(tmp_path, ["1.jpg"], 64)
    assert str(error.value) == f"the mask {mask} cannot be read: it ends too early; write it again, or remove it"
    Image.new("L", (6000, 6000)).save(mask)
    with pytest.raises(UserError, match="cannot be read: its pixels are more than verify"):
        read_masks(tmp_path, ["1.jpg"], 64)
    assert capfd.readouterr().err == ""


def test_a_scan_with_a_name_that_leaves_no_room_for_that_of_a_mask_has_none(tmp_path):
    assert not read_masks(tmp_path, ["a" * 255], 8).any()
