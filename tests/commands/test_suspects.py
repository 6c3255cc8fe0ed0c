"""`trueslice suspects`, on a folder with made-up scans and predictions."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.made import CLASSES, table
from tests.scan_tables import scan_table
from tests.serving import ENVIRONMENT
from trueslice.tables.suspects import Suspects

COUNT = 40
NAMES = [f"Testing/{'a long name of a folder/' * (row % 3)}{row}.png" for row in range(COUNT)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty scans; two are copies of two classes, and of the others the models doubt the first ones most."""
    (tmp_path / "data/scans").mkdir(parents=True)
    classes, group = np.array(CLASSES)[np.arange(COUNT) % 4], np.arange(COUNT)
    group[1] = 0
    scan_table(["test"] * COUNT, classes, group, path=np.array(NAMES)).write(tmp_path / "data/scans/scans.csv")
    for fold in range(2):
        rows = np.arange(fold + 2, COUNT, 2)
        probabilities = np.full((len(rows), 4), 0.2)
        probabilities[np.arange(len(rows)), rows % 4] = rows / 100
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        table(rows % 4, probabilities, path=np.array(NAMES)[rows]).write(tmp_path / f"{fold}.csv")
    return tmp_path


def suspects(folder: Path, arguments: str, status: int = 0) -> str:
    command = [sys.executable, "-m", "trueslice", "suspects", *arguments.split()]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


def test_the_most_suspect_labels_are_printed_in_eighty_columns_and_all_are_written(folder):
    lines = suspects(folder, "0.csv 1.csv -o suspects.csv").splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0] == "38 of 40 scans have a prediction by a model that was not trained on a copy"
    assert lines[1].split() == ["rank", "class", "perhaps", "evidence", "%", "sure", "files", "scan"]
    assert lines[2].split()[:6] == ["1", "glioma", "meningioma", "copies", "-", "1"]
    assert lines[4].split()[:6] == ["3", "notumor", "glioma", "model", "3.2", "1"]
    assert lines[4].endswith("  …g name of a folder/2.png")
    assert lines[-1] == "Written to suspects.csv"
    found = Suspects.read(folder / "suspects.csv")
    assert found.path.tolist() == NAMES and found.rank.tolist() == [*range(1, COUNT + 1)]


@pytest.mark.parametrize(
    ("spoil", "arguments", "said"),
    [
        ("0.csv", "0.csv", "error: 0.csv cannot be read: No such file or directory"),
        (None, "data/scans/scans.csv", "error: data/scans/scans.csv is damaged: it has no column"),
        ("data/scans/scans.csv", "0.csv", "error: data/scans/scans.csv cannot be read: No such file or directory; run"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(folder, spoil, arguments, said):
    if spoil:
        (folder / spoil).unlink()
    error = suspects(folder, arguments, status=1)
    assert said in error and error.count("\n") == 1
