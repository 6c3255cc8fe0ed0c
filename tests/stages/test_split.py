import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
COLUMNS = ["path", "class", "official_split", "width", "height", "mode", "pixel_hash", "group"]


def write_scans(folder: Path, counts: dict[str, tuple[int, int]]) -> None:
    """Write a scans.csv with so many (training, test) scans per class; the first test scan copies a training scan."""
    rows = []
    for name, (train, test) in counts.items():
        first = len(rows)
        for index in range(train + test):
            official = "train" if index < train else "test"
            group = first if index == train else len(rows)
            rows.append([f"{official}/{name}/{index}.png", name, official, 224, 224, "L", f"{group:032x}", group])
    (folder / "data/scans").mkdir(parents=True, exist_ok=True)
    with (folder / "data/scans/scans.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    write_scans(tmp_path, dict.fromkeys(CLASSES, (21, 5)))
    return tmp_path


def run(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "stages.split"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def change(folder: Path, old: str, new: str) -> None:
    params = (folder / "params.yaml").read_text()
    assert old in params
    (folder / "params.yaml").write_text(params.replace(old, new))


def test_split_writes_one_row_per_scan_and_the_counts(folder: Path):
    done = run(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "split: official, 68 train, 12 val, 20 test, 4 dropped\n"
    with (folder / "data/splits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["row", "path", "class", "group", "pixel_hash", "split", "leaked"]
    assert [row["row"] for row in rows] == [str(index) for index in range(104)]
    assert (rows[0]["split"], rows[0]["leaked"]) == ("dropped", "0")
    assert (rows[21]["split"], rows[21]["leaked"], rows[21]["group"]) == ("test", "1", "0")
    metrics = json.loads((folder / "metrics/split.json").read_text())
    assert metrics["val"] == {"total": 12} | dict.fromkeys(CLASSES, 3)
    assert metrics["dropped_as_leaked"] == metrics["leaked_test_scans"] == {"total": 4} | dict.fromkeys(CLASSES, 1)
    assert (metrics["protocol"], metrics["dropped_at_random"]["total"], metrics["conflicting"]) == ("official", 0, [])


def test_the_leak_policy_and_the_seed_are_parameters(folder: Path):
    run(folder)
    before = (folder / "data/splits.csv").read_text()
    change(folder, "leaks: drop_train ", "leaks: keep ")
    assert run(folder).stdout == "split: official, 72 train, 12 val, 20 test, 0 dropped\n"
    change(folder, "leaks: keep ", "leaks: drop_train ")
    run(folder)
    assert (folder / "data/splits.csv").read_text() == before
    change(
        folder,
        "seed: 0                      # another seed draws another val",
        "seed: 1  # another seed draws another val",
    )
    run(folder)
    assert (folder / "data/splits.csv").read_text() != before


def test_every_option_of_the_split_reaches_it(folder: Path):
    """Copies of a glioma scan under meningioma are listed; blocks are labelled; folds and single copies are counted."""
    scans = (folder / "data/scans/scans.csv").read_text().splitlines()
    scans[27] = scans[27].rsplit(",", 1)[0] + ",2"
    (folder / "data/scans/scans.csv").write_text("\n".join(scans) + "\n")
    change(folder, "protocol: official ", "protocol: blocked ")
    change(folder, "folds: null ", "folds: 2 ")
    change(folder, "copies: all ", "copies: one ")
    done = run(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("split: blocked, ")
    assert done.stdout.endswith("(blocks of file names only approximate patients)\n")
    metrics = json.loads((folder / "metrics/split.json").read_text())
    assert metrics["conflicting"] == [
        {"path": "train/glioma/2.png", "class": "glioma", "group": 2},
        {"path": "train/meningioma/0.png", "class": "meningioma", "group": 2},
    ]
    assert metrics["dropped_as_conflicting"]["total"] == 2
    assert metrics["leaked_test_scans"]["total"] == 0
    tested = sum(metrics["test"][name] for name in CLASSES)
    assert 48 <= tested <= 56
    change(folder, "fold: 1 ", "fold: 2 ")
    run(folder)
    other = json.loads((folder / "metrics/split.json").read_text())
    assert tested + other["test"]["total"] == 102


@pytest.mark.parametrize(
    ("counts", "old", "new", "status", "words"),
    [
        ({}, "  notumor:\n", "  healthy:\n", 1, ["notumor, while healthy of `classes:` is no folder"]),
        ({"glioma": (1, 0)}, "", "", 1, ["no scans of glioma in Testing/"]),
        ({"glioma": (1, 1)}, "", "", 1, ["split.leaks: drop_train", "no train scan of glioma"]),
        ({}, "folds: null ", "folds: 21 ", 1, ["class glioma has 20 groups of copies", "split.folds: 21; lower"]),
        ({}, "fold: 1 ", "fold: 2 ", 2, ["params.yaml: split: fold is 2, but folds is null"]),
        ({}, "protocol: official ", "protocol: patients ", 2, ["split.protocol is 'patients'"]),
        ({"glioma": (2, 1)}, "", "", 1, ["class glioma has 1 scan to divide"]),
        ({"glioma": (4, 1)}, "", "", 1, ["split.validation_share 0.15 leaves no val scan of glioma", "3 scans"]),
        ({}, "leaks: drop_train", "leaks: drop_all", 2, ["split.leaks is 'drop_all'", "'keep' or 'drop_random'"]),
    ],
)
def test_split_ends_in_one_line(folder: Path, counts: dict, old: str, new: str, status: int, words: list[str]):
    write_scans(folder, dict.fromkeys(CLASSES, (21, 5)) | counts)
    if old:
        change(folder, old, new)
        change(folder, "negative_class: notumor", "negative_class: null")
    done = run(folder)
    assert done.returncode == status, done.stdout
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert not (folder / "data/splits.csv").exists()
