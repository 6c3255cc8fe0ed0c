from trueslice.reading.masks import read_masks


def test_a_scan_with_a_name_that_leaves_no_room_for_that_of_a_mask_has_none(tmp_path):
    assert not read_masks(tmp_path, ["a" * 255], 8).any()
