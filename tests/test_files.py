import pytest

from tumorclip.files import read_csv, read_json, whole_file, whole_folder, write_csv, write_json


class Broken(Exception):
    pass


def test_a_file_keeps_its_old_content_when_writing_breaks(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(Broken), whole_file(path) as beside:
        beside.write_text("half")
        raise Broken
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_keeps_its_old_content_when_writing_breaks_and_is_replaced_as_a_whole_when_not(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old").write_text("old")
    with pytest.raises(Broken), whole_folder(folder) as beside:
        (beside / "new").write_text("half")
        raise Broken
    assert [path.name for path in folder.iterdir()] == ["old"]
    with whole_folder(folder) as beside:
        (beside / "new").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_json_and_csv_come_back_as_they_went(tmp_path):
    write_json(tmp_path / "a.json", {"tumour": None, "é": 0.1})
    assert read_json(tmp_path / "a.json") == {"tumour": None, "é": 0.1}
    write_csv(tmp_path / "a.csv", ["a", "b"], [{"a": 'x,"y"', "b": 1}])
    assert read_csv(tmp_path / "a.csv") == [{"a": 'x,"y"', "b": "1"}]


def test_json_refuses_what_it_has_no_word_for(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_csv_refuses_rows_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match="lacks"):
        write_csv(tmp_path / "a.csv", ["a", "b"], [{"a": 1}])
    with pytest.raises(ValueError):
        write_csv(tmp_path / "a.csv", ["a"], [{"a": 1, "b": 2}])
    assert list(tmp_path.iterdir()) == []
