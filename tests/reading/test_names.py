from trueslice.reading.names import file_of, frame_path, natural_key


def test_a_number_that_is_no_digit_is_text_in_a_name():
    assert sorted(["scan²10.png", "scan²9.png"], key=natural_key) == ["scan²9.png", "scan²10.png"]
    assert sorted(["1²10", "1²9"], key=natural_key) == ["1²9", "1²10"]


def test_the_file_of_a_frame_is_found_again_and_other_paths_are_files():
    assert frame_path("a/x.dcm", 12) == "a/x.dcm, frame 12"
    assert file_of("a/x.dcm, frame 12") == "a/x.dcm"
    assert file_of("a, frame 1/x.dcm") == "a, frame 1/x.dcm"
