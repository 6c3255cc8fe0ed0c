import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trueslice.tables.scans import Scans
from trueslice.tables.splits import Splits

ROOT = Path(__file__).parents[2]
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
# Names that were keys of the metrics once, and would collide if classes were keys.
KEYS = ("baselines", "classes", "mean_over_classes", "total")


def write_scans(folder: Path, counts: dict[str, tuple[int, int]]) -> None:
    """Write a scans.csv with so many (training, test) scans per class; the first test scan copies a training scan."""
    paths, names, splits, groups = [], [], [], []
    for name, (train, test) in counts.items():
        first = len(paths)
        for index in range(train + test):
            official = "train" if index < train else "test"
            groups.append(first if index == train else len(paths))
            paths.append(f"{official}/{name}/{index}.png")
            names.append(name)
            splits.append(official)
    sizes = np.full(len(paths), 224)
    hashes = [f"{group:032x}" for group in groups]
    modes, matches, unknown = np.full(len(paths), "L"), np.zeros(len(paths)), [np.full(len(paths), "")] * 4
    columns = paths, names, splits, sizes, sizes, modes, hashes, groups, *unknown, matches
    Scans(*map(np.array, columns)).write(folder / "data/scans/scans.csv")


def give_patients(folder: Path, but: tuple[str, ...] = ()) -> None:
    """Give each class but these three scans per patient, by number in either folder; copies of a scan are its own."""
    scans = Scans.read(folder / "data/scans/scans.csv")
    numbers = [int(Path(path).stem) // 3 for path in scans.path.tolist()]
    names = [f"{name}-{n}" for name, n in zip(scans.class_name.tolist(), numbers, strict=True)]
    patient = np.where(np.isin(scans.class_name, but), "", names)[scans.group]
    replace(scans, patient=patient).write(folder / "data/scans/scans.csv")


def counted(folder: Path) -> dict[str, dict[str, int]]:
    """Every count of metrics/split.json by class, with the total."""
    metrics = json.loads((folder / "metrics/split.json").read_text())
    keys = [key for key in metrics["classes"][0] if key != "class"]
    return {key: {None: metrics[key]} | {row["class"]: row[key] for row in metrics["classes"]} for key in keys}


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
    header = "path,class,pixel_hash,group,patient,unit,split,reason,leaked\n"
    assert (folder / "data/splits.csv").read_text().startswith(header)
    splits = Splits.read(folder / "data/splits.csv")
    assert splits.path.tolist() == Scans.read(folder / "data/scans/scans.csv").path.tolist() and len(splits) == 104
    assert (splits.split[0], splits.reason[0], splits.leaked[0]) == ("dropped", "leaked", "")
    assert (splits.split[21], splits.reason[21], splits.leaked[21], splits.group[21]) == ("test", "", "copy", 0)
    counts = counted(folder)
    assert counts["val"] == {None: 12} | dict.fromkeys(CLASSES, 3)
    assert counts["dropped_as_leaked"] == counts["leaked_test_scans"] == {None: 4} | dict.fromkeys(CLASSES, 1)
    assert counts["dropped_at_random"][None] == 0
    metrics = json.loads((folder / "metrics/split.json").read_text())
    assert (metrics["protocol"], metrics["conflicting"]) == ("official", [])


@pytest.mark.parametrize("protocol", ["official", "grouped", "blocked", "patients"])
def test_no_name_of_a_class_collides_with_a_key_of_the_metrics(folder: Path, protocol: str):
    write_scans(folder, dict.fromkeys(KEYS, (40, 10)))
    give_patients(folder)
    for old, new in zip(CLASSES, KEYS, strict=True):
        change(folder, f"\n  {old}:\n", f"\n  {new}:\n")
    change(folder, "negative_class: notumor", "negative_class: null")
    change(folder, "protocol: official ", f"protocol: {protocol} ")
    done = run(folder)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((folder / "metrics/split.json").read_text())
    assert [row["class"] for row in metrics["classes"]] == list(KEYS)
    assert all(metrics[part] == sum(row[part] for row in metrics["classes"]) > 0 for part in ("train", "val", "test"))


def test_the_leak_policy_and_the_seed_are_parameters(folder: Path):
    run(folder)
    before = (folder / "data/splits.csv").read_text()
    change(folder, "leaks: drop_train ", "leaks: keep ")
    assert run(folder).stdout == "split: official, 72 train, 12 val, 20 test, 0 dropped\n"
    change(folder, "leaks: keep ", "leaks: drop_train ")
    run(folder)
    assert (folder / "data/splits.csv").read_text() == before
    change(folder, "seed: 0                        # of all", "seed: 1  # of all")
    run(folder)
    assert (folder / "data/splits.csv").read_text() != before


def test_a_split_by_patients_says_how_many_scans_went_by_names(folder: Path):
    give_patients(folder, but=("notumor",))
    change(folder, "protocol: official ", "protocol: patients ")
    done = run(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("split: patients, ")
    assert done.stdout.endswith(" (26 scans without a known patient placed by blocks of file names)\n")
    counts = counted(folder)
    assert counts["placed_by_names"] == {None: 26} | dict.fromkeys(CLASSES, 0) | {"notumor": 26}
    assert counts["patients_in_train_and_test"][None] == counts["leaked_by_patient"][None] == 0
    assert counts["patients_test"]["glioma"] > 0 == counts["patients_test"]["notumor"]


def test_the_published_test_set_says_whose_patients_train(folder: Path):
    give_patients(folder)
    done = run(folder)
    number = counted(folder)["leaked_by_patient"][None]
    assert number > 0
    assert done.stdout.endswith(f" ({number} test scans without a copy in train or val show a patient who is there)\n")


def test_every_option_of_the_split_reaches_it(folder: Path):
    """Copies of a glioma scan under meningioma are listed; blocks are labelled; folds and single copies are counted."""
    scans = Scans.read(folder / "data/scans/scans.csv")
    scans.group[26] = 2
    scans.write(folder / "data/scans/scans.csv")
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
    assert (metrics["dropped_as_conflicting"], metrics["leaked_test_scans"]) == (2, 0)
    tested = metrics["test"]
    assert 48 <= tested <= 56
    change(folder, "fold: 1 ", "fold: 2 ")
    run(folder)
    other = json.loads((folder / "metrics/split.json").read_text())
    assert tested + other["test"] == 102


@pytest.mark.parametrize(
    ("counts", "old", "new", "status", "words"),
    [
        ({}, "  notumor:\n", "  healthy:\n", 1, ["notumor, while healthy of `classes:` has no folder"]),
        ({"glioma": (1, 0)}, "", "", 1, ["no scans of glioma in Testing/"]),
        ({"glioma": (1, 1)}, "", "", 1, ["split.leaks: drop_train", "no train scan of glioma"]),
        ({}, "folds: null ", "folds: 21 ", 1, ["class glioma has 20 groups of copies", "split.folds: 21; lower"]),
        ({}, "fold: 1 ", "fold: 2 ", 2, ["params.yaml: split: fold is 2, but folds is null"]),
        ({}, "protocol: official ", "protocol: patients ", 1, ["no scan has a known patient", "verify.patients"]),
        ({}, "protocol: official ", "protocol: heads ", 2, ["split.protocol is 'heads'", "'blocked' or 'patients'"]),
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
