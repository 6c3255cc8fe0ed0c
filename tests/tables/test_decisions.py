"""The CSV file in which a person's decisions about labels and copies are kept."""

import os
import resource
from pathlib import Path

import pytest

from trueslice.errors import UserError
from trueslice.tables.decisions import Decision, Decisions, append

WRONG = Decision("glioma/1.png", "", "wrong", "meningioma")
HEADER = "path,other,decision,class\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "decisions.csv"


def test_what_is_appended_is_read_again_and_the_last_decision_about_a_subject_counts(file):
    pair = Decision("b.png", "a.png", "same", "")
    append(file, [WRONG, pair])
    assert Decisions.read(file).in_force() == [WRONG, pair]
    append(file, [Decision("a.png", "b.png", "different", "")])
    append(file, [WRONG._replace(decision="undone", class_name="")])
    assert Decisions.read(file).in_force() == [Decision("a.png", "b.png", "different", "")]
    assert file.read_text().count("\n") == 5


def test_no_file_and_no_rows_are_no_decisions(file):
    assert Decisions.read(file).in_force() == []
    file.write_text(HEADER)
    assert Decisions.read(file).in_force() == []


def test_a_row_begins_a_line_also_after_an_editor_that_left_the_last_one_open(file):
    file.write_text(f"{HEADER}a.png,,right,")
    append(file, [WRONG])
    assert [each.path for each in Decisions.read(file).in_force()] == ["a.png", WRONG.path]


def test_a_full_disk_leaves_no_half_of_a_row(small_disk):
    file = small_disk / "decisions.csv"
    append(file, [WRONG])
    before = file.read_bytes()
    with (small_disk / "rest").open("wb") as rest:
        free = os.statvfs(small_disk)
        rest.write(bytes(free.f_bavail * free.f_frsize))
    with pytest.raises(OSError, match="No space left"):
        append(file, [WRONG] * 500)
    assert file.read_bytes() == before


def test_a_file_that_may_not_grow_keeps_what_it_has(file):
    append(file, [WRONG])
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, limits[1]))
    try:
        with pytest.raises(OSError, match="No space left"):
            append(file, [WRONG])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot be used: it is empty; correct it"),
        ("path,other,decision\n", "it has no column class"),
        (f"{HEADER}a.png,,rihgt,\n", "line 2: 'rihgt' in column decision is not right or wrong or same"),
        (f"{HEADER}a.png,,right\n", "line 2 has 3 fields, and the first line 4"),
        (f"{HEADER}a.png,,same,\n", "same can't be said of 'a.png': a label is right or wrong, a pair same or"),
        (f"{HEADER}a.png,b.png,wrong,\n", "wrong can't be said of 'a.png', 'b.png': a label"),
        (f"{HEADER}a.png,a.png,same,\n", "same can't be said of 'a.png', 'a.png'"),
        (f"{HEADER},,right,\n", "right can't be said of"),
        (f"{HEADER}a.png,,right,glioma\n", "'a.png' is right, and has a class; only a wrong label has one"),
        ("path,other\0", "NUL bytes"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(file, content, said):
    file.write_text(content)
    with pytest.raises(UserError) as error:
        Decisions.read(file)
    assert said in str(error.value) and str(error.value).startswith(str(file)) and "\n" not in str(error.value)


def test_a_folder_in_its_place_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot be used: Is a directory"):
        Decisions.read(tmp_path)
