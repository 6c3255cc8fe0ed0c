"""`trueslice score` on real files: which rows it prints, and what it refuses."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from tests.made import external_table
from tests.scan_tables import scan_table
from trueslice.commands import cli
from trueslice.files import printable
from trueslice.tables.rows import csv_line

CLASSES = ("glioma", "meningioma", "notumor")
# Four test scans, whose copy, whose patient, neither of which and again neither of which is in Training.
PATHS = ["Testing/glioma/a.png", "Testing/glioma/b.png", "Testing/notumor/c.png", "Testing/notumor/d.png"]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with the tables of a run, in which the command is started."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/scans").mkdir(parents=True)
    (tmp_path / "plots").mkdir()
    scan_table(
        ["train"] * 3 + ["test"] * 4,
        ["glioma", "glioma", "meningioma", "glioma", "glioma", "notumor", "notumor"],
        [0, 1, 2, 0, 4, 5, 5],
        path=np.array(["Training/glioma/a.png", "Training/glioma/x.png", "Training/meningioma/y.png", *PATHS]),
        patient=np.array(["", "p", "", "", "p", "", ""]),
    ).write(tmp_path / "data/scans/scans.csv")
    paths = np.array(["ill/1.png", "ill/2.png", "well/1.png"])
    rows = [(0, 0, ""), (0, 0, "development"), (2, 0, "within")]
    columns = {"class_names": CLASSES, "path": paths, "probabilities": np.full((3, 3), 1 / 3)}
    external_table(rows, [0, 1, 0], **columns).write(tmp_path / "plots/external.csv")
    return tmp_path


def scored(folder: Path, text: str, options: str = "") -> dict[tuple[str, str | None], tuple[int, int, float]]:
    """Scans, units and accuracy by part and class, from the file that the command writes."""
    (folder / "mine.csv").write_text(text)
    cli.main(["score", "mine.csv", "--json", "result.json", *options.split()])
    rows = json.loads((folder / "result.json").read_text())["rows"]
    return {(row["part"], row["class"]): (row["scans"], row["units"], row["accuracy"]) for row in rows}


def refused(text: str | bytes, options: str = "") -> str:
    Path("mine.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with contextlib.redirect_stderr(io.StringIO()) as said, pytest.raises(SystemExit) as end:
        cli.main(["score", "mine.csv", "--json", "result.json", *options.split()])
    assert end.value.code == 1 and not Path("result.json").exists()
    assert said.getvalue().count("\n") == 1
    return said.getvalue()


def test_scans_are_told_by_what_is_in_the_published_training_folder(folder, capsys):
    answers = ["glioma", "meningioma", "notumor", "glioma"]
    rows = scored(folder, "path,class\n" + "".join(f"{row[0]},{row[1]}\n" for row in zip(PATHS, answers, strict=True)))
    assert rows == {
        ("all", None): (4, 3, 0.5),
        ("all", "glioma"): (2, 2, 0.5),
        ("all", "notumor"): (2, 1, 0.5),
        ("with a copy in Training", None): (1, 1, 1),
        ("with a copy in Training", "glioma"): (1, 1, 1),
        ("with its patient in Training", None): (1, 1, 0),
        ("with its patient in Training", "glioma"): (1, 1, 0),
        ("with neither", None): (2, 1, 0.5),
        ("with neither", "notumor"): (2, 1, 0.5),
    }
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "mine.csv on 4 scans of data/scans/scans.csv"
    assert printed[3].split()[:4] == ["all", "4", "3", "50.0%"]
    last, _, said = printed[-3:]
    assert last.split()[:4] == ["notumor", "2", "1", "50.0%"]
    assert last.endswith("one distinct scan alone tells nothing about others")
    assert said == "Patients are known: to score each, give the probabilities of all classes."


def test_probabilities_count_by_the_highest_and_file_names_will_do_where_only_one_scan_has_them(folder):
    names = ["Testing/glioma/a.png", "b.png", r"C:\scans\c.png", "/home/me/kaggle/d.png"]
    numbers = ["0.5,0.2,0.3", "1e-3,0.9,0.099", "0.1,0.2,0.7", "0.4,0.3,0.3"]
    text = "fold,path,probability_glioma,probability_meningioma,probability_notumor\n"
    text += "".join(f"1,{row[0]},{row[1]}\n" for row in zip(names, numbers, strict=True))
    assert scored(folder, text)["all", None] == (4, 3, 0.5)


def test_an_external_set_is_scored_by_what_is_new_in_it(folder, capsys):
    rows = scored(folder, "path,class\nill/1.png,glioma\n2.png,glioma\nwell/1.png,glioma\n", "--external other")
    assert {part: rows[part, None] for part, name in rows if name is None} == {
        "all": (3, 2, 2 / 3),
        "new": (1, 1, 1),
        "a copy of a development scan": (1, 1, 1),
        "a copy within the set": (1, 1, 0),
    }
    assert "No patient is known: " in capsys.readouterr().out


def test_a_known_patient_is_scored_by_the_mean_of_the_probabilities(folder, capsys):
    patient = np.array(["p", "p", "", "", "q"])
    paths = [*PATHS, "Training/meningioma/y.png"]
    classes = ["glioma", "glioma", "notumor", "notumor", "meningioma"]
    table = scan_table(["test"] * 4 + ["train"], classes, range(5), path=np.array(paths), patient=patient)
    table.write(folder / "data/scans/scans.csv")
    rows = zip(PATHS, ("0.9,0.1,0", "0.4,0.5,0.1", "0,0,1", "0,0,1"), strict=True)
    head = f"path,{','.join(f'probability_{name}' for name in CLASSES)}\n"
    scored(folder, head + "".join(f"{path},{numbers}\n" for path, numbers in rows))
    printed = capsys.readouterr().out.splitlines()
    start = printed.index("Each patient, by the mean probability of all distinct scans (up to 2):")
    assert [line.partition("%")[0].split() for line in printed[start + 3 : start + 7]] == [
        ["all", "1", "100.0"],
        ["by", "three", "scans,", "drawn", "at", "random", "1", "100.0"],
        ["by", "one", "scan,", "drawn", "at", "random", "1", "50.0"],
        ["glioma", "1", "100.0"],
    ]
    assert "Not scored: no patient of meningioma and notumor is known." in printed
    found = json.loads((folder / "result.json").read_text())["patients"]
    assert (found["patients"], found["scans_without_patient"]) == (1, 2)


WHOLE = "path,class\n" + "".join(f"{path},glioma\n" for path in PATHS)


WANTED = "but must name path and class, or path and probability_CLASS for each class, divided by commas"


def shares(row: str) -> str:
    """A file with one row of probabilities, or of a class and probabilities."""
    columns = ["class"] * (row.count(",") == len(CLASSES)) + [f"probability_{name}" for name in CLASSES]
    return f"path,{','.join(columns)}\n{PATHS[0]},{row}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WHOLE.replace("b.png", "z.png"), "mine.csv: line 3: no scan is called 'Testing/glioma/z.png'"),
        (
            WHOLE.replace(PATHS[0], "a.png"),
            "line 2: 'a.png' may be 'Testing/glioma/a.png' or 'Training/glioma/a.png'; give",
        ),
        (WHOLE.replace(PATHS[0], ""), "line 2: no scan is called ''"),
        (WHOLE.replace("b.png", "a.png"), "line 3: 'Testing/glioma/a.png' is there twice"),
        (WHOLE.replace(PATHS[1], "/elsewhere/Testing/glioma/a.png"), "line 3: 'Testing/glioma/a.png' is there twice"),
        (WHOLE.replace(PATHS[1], "x.png"), "line 3: 'Training/glioma/x.png' is not in the published test set; leave"),
        (WHOLE[: WHOLE.index(PATHS[2])], "2 of 4 scans are missing, such as 'Testing/notumor/c.png'; predict them all"),
        (
            WHOLE.replace("b.png,glioma", "b.png,lesion"),
            "line 3: 'lesion' is none of the classes glioma, meningioma, n",
        ),
        (WHOLE.replace("b.png,glioma", "b.png,"), "line 3: '' is none of the classes glioma, meningioma, notumor"),
        (WHOLE.replace("path", "file"), f"'file', 'class', {WANTED}"),
        (WHOLE.replace("class", "label"), f"'path', 'label', {WANTED}"),
        (WHOLE.replace(",", ";"), f"'path;class', {WANTED}"),
        (WHOLE.replace(",", "\t"), f"'path\\tclass', {WANTED}"),
        (f"sep=;\n{WHOLE.replace(',', ';')}", f"'sep=;', {WANTED}"),
        (
            WHOLE.replace("class", "class, probability_glioma"),
            "its column ' probability_glioma' would not count; write",
        ),
        (WHOLE.replace("path,class", "Path,Class"), f"'Path', 'Class', {WANTED}"),
        (WHOLE.replace("path,class", "path, class"), f"'path', ' class', {WANTED}"),
        (f"# made by hand\n{WHOLE}", f"'# made by hand', {WANTED}"),
        (WHOLE + "# made by hand\n", "line 6 has 1 fields, and the first line 2"),
        (WHOLE + ",,,\n", "line 6 has 4 fields, and the first line 2"),
        (",,,\n" + WHOLE, f"'', '', '', '', {WANTED}"),
        (WHOLE.replace("class", "class,class").replace(",glioma", ",glioma,glioma"), "names the column 'class' twice"),
        (f"path,probability_cyst\n{PATHS[0]},1\n", "'cyst' is none of the classes"),
        (f"path,probability_glioma\n{PATHS[0]},1\n", "it has no column probability_meningioma; give the prob"),
        (f"path,class,probability_glioma\n{PATHS[0]},glioma,1\n", "it has no column probability_meningioma"),
        (shares("high,0,0"), "line 2: 'high' in column probability_glioma is not a probability from 0 to 1; convert"),
        (shares(",0,1"), "line 2: '' in column probability_glioma is not a probability"),
        (shares("nan,0,1"), "line 2: 'nan' in column probability_glioma is not a probability"),
        (
            shares("80,15,5"),
            "line 2: '80' in column probability_glioma is not a probability from 0 to 1; convert percent",
        ),
        (shares("0.9,-1,1.1"), "line 2: '-1' in column probability_meningioma is not a probability"),
        (shares("0.9,0.8,0.1"), "line 2: the probabilities sum to 1.8, and not to 1"),
        (shares("0,0,0"), "line 2: the probabilities sum to 0, and not to 1"),
        (
            shares("0.4,0.4,0.2"),
            "line 2: the highest probability is that of glioma and of meningioma; add a column class",
        ),
        (shares("notumor,0.4,0.4,0.2"), "line 2: the class is notumor, but the highest probability is that of glioma"),
        ("", "mine.csv: it is empty"),
        ("\n\n", "mine.csv: it is empty"),
        (WHOLE.replace("Testing/glioma/a.png", '"Testing"/glioma/a.png'), "line 2 has quotes that do not match"),
        (
            'path,class\n"' + WHOLE,
            "the row that begins in line 2 has quotes that do not match, or has a cell of more than",
        ),
        (
            f"path,class\n{'a' * 131_073},glioma\n",
            "the row that begins in line 2 has quotes that do not match, or has a",
        ),
        (f"path,class\n{'a' * 131_072},glioma\n", "line 2: no scan is called 'aaaa"),
        ("path,class," + "a," * 2**20, "it has a line of 1,048,576 characters or more"),
        ("path,class\na\0,glioma\n", "it holds NUL bytes, as UTF-16 text does; save it as CSV in UTF-8"),
        ("path,class\na\rb,glioma\n", "line 2 has 1 fields, and the first line 2"),
        ("path,class\n\x1b[2J\u2028,glioma\n", r"line 2: no scan is called '\x1b[2J\u2028'"),
    ],
)
def test_what_cannot_be_scored_ends_in_one_line(folder, text, said):
    assert said in refused(text)


def test_the_file_that_is_read_is_not_replaced(folder):
    Path("mine.csv").write_text(WHOLE)
    Path("link.csv").symlink_to("mine.csv")
    with contextlib.redirect_stderr(io.StringIO()) as said, pytest.raises(SystemExit):
        cli.main(["score", "mine.csv", "--json", "link.csv"])
    assert said.getvalue() == "error: --json names mine.csv, which is read; give another file\n"
    assert Path("mine.csv").read_text() == WHOLE


def test_missing_files_and_unknown_sets_end_in_one_line(folder):
    assert "holds no data set called pmram, but: other" in refused(WHOLE, "--external pmram")
    assert "none.csv cannot be read: No such file or directory; run the pipeline" in refused(WHOLE, "--scans none.csv")
    assert "error: . cannot be read: Is a directory" in refused(WHOLE, "--scans .")
    with contextlib.redirect_stderr(io.StringIO()) as said, pytest.raises(SystemExit):
        cli.main(["score", "nowhere.csv"])
    assert said.getvalue() == "error: nowhere.csv cannot be read: No such file or directory\n"


@pytest.mark.parametrize(
    ("encoding", "letter", "said"),
    [
        ("utf-16", "", "mine.csv: it is UTF-16 text; save it as CSV in UTF-8\n"),
        ("utf-16-le", "ä", "mine.csv: it is UTF-16 text; save it as CSV in UTF-8\n"),
        ("utf-16-le", "", "mine.csv: it holds NUL bytes, as UTF-16 text does; save it as CSV in UTF-8\n"),
        ("latin-1", "ä", "mine.csv: it is not UTF-8 text; save it as CSV in UTF-8\n"),
    ],
)
def test_other_encodings_are_named_and_a_byte_order_mark_is_none(folder, encoding, letter, said):
    assert said in refused(WHOLE.replace("a.png", letter + "a.png").encode(encoding))
    assert scored(folder, f"\ufeff{WHOLE}")["all", None] == (4, 3, 0.5)


def test_where_the_highest_probabilities_are_equal_the_class_decides(folder):
    numbers = ("0.5,0.5,0", "0.4,0.4,0.2", "0.5,0,0.5", "0,0,1")
    answers = ("glioma", "meningioma", "notumor", "notumor")
    rows = zip(PATHS, answers, numbers, strict=True)
    text = "path,class,probability_glioma,probability_meningioma,probability_notumor\n"
    text += "".join(f"{','.join(row)}\n" for row in rows)
    assert scored(folder, text)["all", None] == (4, 3, 0.75)


def test_the_columns_may_be_in_any_order_quoted_and_beside_others_and_lines_may_end_in_any_way(folder):
    text = 'note,class,"path",,\r"a\r\n, ""b""",glioma,"Testing/glioma/a.png",,\r'
    text += "".join(f"\u2028,glioma,{path},,\n\n" for path in PATHS[1:])
    assert scored(folder, text)["all", None] == (4, 3, 0.5)


# A path of the data, and how others write it.
SPELLINGS = [
    ("Testing/glioma/image(1).jpg", "data/raw/Testing/glioma/image(1).jpg"),
    ("Testing/glioma/image(1).jpg", "Testing/glioma/image(1).jpg"),
    ("Testing/glioma/image(1).jpg", "./Testing//glioma/./image(1).jpg"),
    ("Testing/glioma/image(1).jpg", "../other/test/glioma/image(1).jpg"),
    ("Testing/glioma/image(1).jpg", r"C:\scans\Testing\glioma\image(1).jpg"),
    ("Testing/glioma/image(1).jpg", "glioma/image(1).jpg"),
    ("Testing/glioma/x.dcm, frame 3", "/data/Testing/glioma/x.dcm, frame 3"),
    ("Testing/glioma/x.dcm, frame 3", "x.dcm, frame 3"),
    ('Testing/glioma/a "b", c.png', 'in/Testing/glioma/a "b", c.png'),
    ("Testing/glioma/a\nb\rc.png", "in/Testing/glioma/a\nb\rc.png"),
    ("Testing/glioma/a\nb\rc.png", printable("in/Testing/glioma/a\nb\rc.png")),
    ("Testing/glioma/a\\b.png", "in/Testing/glioma/a\\b.png"),
    ("Testing/glioma/a\u2028é.png", "in/Testing/glioma/a\u2028é.png"),
    ("Testing/glioma/test/1.png", "in/Testing/glioma/test/1.png"),
]


@pytest.mark.parametrize(("path", "spelling"), SPELLINGS)
def test_the_longest_end_of_a_path_that_is_one_of_the_data_decides(folder, path, spelling):
    names = [path, path.replace("glioma", "notumor"), path.replace("Testing", "Training")]
    if spelling.startswith("x.dcm"):
        names = [path, "Testing/notumor/y.dcm", "Training/notumor/z.dcm"]
    if spelling.startswith("glioma"):
        names[2] = "Training/glioma/gg (1).jpg"
    scan_table(["test", "test", "train"], ["glioma", "notumor", "notumor"], [0, 1, 2], path=np.array(names)).write(
        folder / "data/scans/scans.csv"
    )
    text = "".join(map(csv_line, [("path", "class"), (spelling, "glioma"), (names[1], "glioma")]))
    assert scored(folder, text)["all", None] == (2, 2, 0.5)
