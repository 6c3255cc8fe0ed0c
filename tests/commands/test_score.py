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


def refused(text: str, options: str = "") -> str:
    Path("mine.csv").write_text(text)
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
    assert printed[-1].split()[:4] == ["notumor", "2", "1", "50.0%"]
    assert printed[-1].endswith("one distinct scan alone tells nothing about others")


def test_probabilities_count_by_the_highest_and_file_names_will_do_where_only_one_scan_has_them(folder):
    names = ["Testing/glioma/a.png", "b.png", r"C:\scans\c.png", "/home/me/kaggle/d.png"]
    numbers = ["0.5,0.2,0.3", "1e-3,0.9,0.05", "0.1,0.2,0.7", "0.4,0.3,0.3"]
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


WHOLE = "path,class\n" + "".join(f"{path},glioma\n" for path in PATHS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WHOLE.replace("b.png", "z.png"), "mine.csv, line 3: no scan is called Testing/glioma/z.png, or several are"),
        (WHOLE.replace("Testing/glioma/a.png", "a.png"), "line 2: no scan is called a.png, or several are"),
        (WHOLE.replace("b.png", "a.png"), "line 3: Testing/glioma/a.png is there twice"),
        (WHOLE.replace(PATHS[1], "x.png"), "line 3: x.png is not in the published test set; leave it out"),
        (WHOLE[: WHOLE.index(PATHS[2])], "2 of 4 scans are missing, such as Testing/notumor/c.png; predict them all"),
        (
            WHOLE.replace("b.png,glioma", "b.png,lesion"),
            "line 3: 'lesion' is none of the classes glioma, meningioma, n",
        ),
        (WHOLE.replace("path", "file"), "line 2: there is no column `path`"),
        (WHOLE.replace("class", "label"), "line 2: there is neither a column `class` nor one `probability_CLASS`"),
        ("path,probability_cyst\na.png,1\n" + PATHS[1] + ",1\n", "line 2: no scan is called a.png"),
        (f"path,probability_cyst\n{PATHS[0]},1\n", "line 2: 'cyst' is none of the classes"),
        (f"path,probability_glioma\n{PATHS[0]},high\n", "line 2: a probability is not a number"),
        (f"path,probability_glioma\n{PATHS[0]},nan\n", "line 2: a probability is not a finite number"),
        ("", "4 of 4 scans are missing"),
    ],
)
def test_what_cannot_be_scored_ends_in_one_line(folder, text, said):
    assert said in refused(text)


def test_missing_files_and_unknown_sets_end_in_one_line(folder):
    assert "holds no data set called pmram, but: other" in refused(WHOLE, "--external pmram")
    assert "none.csv does not exist; run the pipeline (make repro)" in refused(WHOLE, "--scans none.csv")
    with contextlib.redirect_stderr(io.StringIO()) as said, pytest.raises(SystemExit):
        cli.main(["score", "nowhere.csv"])
    assert said.getvalue().startswith("error: nowhere.csv cannot be read as a CSV file (")
    Path("mine.csv").write_bytes(b"\xff\xfe\x00")
    with contextlib.redirect_stderr(io.StringIO()) as said, pytest.raises(SystemExit):
        cli.main(["score", "mine.csv"])
    assert said.getvalue().count("\n") == 1
