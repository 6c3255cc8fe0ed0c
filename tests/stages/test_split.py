import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from tests.scan_tables import scan_table
from tests.stages.running import ROOT, run
from trueslice.tables.scans import Scans
from trueslice.tables.splits import Splits

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")


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
    scan_table(splits, names, groups, path=np.array(paths)).write(folder / "data/scans/scans.csv")


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


def change(folder: Path, old: str, new: str) -> None:
    params = (folder / "params.yaml").read_text()
    assert old in params
    (folder / "params.yaml").write_text(params.replace(old, new))


def test_split_writes_one_row_per_scan_and_the_counts(folder: Path):
    done = run("split", folder)
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


def test_the_leak_policy_and_the_seed_are_parameters(folder: Path):
    run("split", folder)
    before = (folder / "data/splits.csv").read_text()
    change(folder, "leaks: drop_train ", "leaks: keep ")
    assert run("split", folder).stdout == "split: official, 72 train, 12 val, 20 test, 0 dropped\n"
    change(folder, "leaks: keep ", "leaks: drop_train ")
    run("split", folder)
    assert (folder / "data/splits.csv").read_text() == before
    change(folder, "seed: 0                        # of all", "seed: 1  # of all")
    run("split", folder)
    assert (folder / "data/splits.csv").read_text() != before


def test_a_split_by_patients_says_how_many_scans_went_by_names(folder: Path):
    give_patients(folder, but=("notumor",))
    change(folder, "protocol: official ", "protocol: patients ")
    done = run("split", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("split: patients, ")
    assert done.stdout.endswith(" (26 scans without a known patient placed by blocks of file names)\n")
    counts = counted(folder)
    assert counts["placed_by_names"] == {None: 26} | dict.fromkeys(CLASSES, 0) | {"notumor": 26}
    assert counts["patients_in_train_and_test"][None] == counts["leaked_by_patient"][None] == 0
    assert counts["patients_test"]["glioma"] > 0 == counts["patients_test"]["notumor"]


def test_the_published_test_set_says_whose_patients_train(folder: Path):
    give_patients(folder)
    done = run("split", folder)
    number = counted(folder)["leaked_by_patient"][None]
    assert number > 0
    assert done.stdout.endswith(f" ({number} test scans without a copy in train or val show a patient who is there)\n")


def test_every_option_of_the_split_reaches_it(folder: Path):
    """Copies of a glioma scan under meningioma are listed; blocks are labelled; folds and single copies are counted."""
    scans = Scans.read(folder / "data/scans/scans.csv")
    scans.group[26] = 2
    scans.write(folder / "data/scans/scans.csv")
    change(folder, "protocol: official ", "protocol: blocked ")
    change(folder, "folds:   ", "folds: 2 ")
    change(folder, "copies: all ", "copies: one ")
    done = run("split", folder)
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
    run("split", folder)
    other = json.loads((folder / "metrics/split.json").read_text())
    assert tested + other["test"] == 102


def test_another_data_set_that_cannot_be_tested_on_ends_the_run_before_the_training(folder: Path):
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    params["external"] = [{"name": "elsewhere", "source": "nowhere", "classes": None}]
    yaml.dump(params, folder / "params.yaml")
    done = run("split", folder)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "external: elsewhere: " in done.stderr and not (folder / "data/splits.csv").exists()


@pytest.mark.parametrize(
    ("counts", "old", "new", "status", "words"),
    [
        ({}, "  notumor:\n", "  healthy:\n", 1, ["notumor, while healthy of `classes:` has no folder"]),
        ({"glioma": (1, 1)}, "", "", 1, ["split.leaks: drop_train", "no train scan of glioma"]),
        ({}, "fold: 1 ", "fold: 2 ", 2, ["params.yaml: split: fold is 2, but folds is null"]),
    ],
)
def test_split_ends_in_one_line(folder: Path, counts: dict, old: str, new: str, status: int, words: list[str]):
    write_scans(folder, dict.fromkeys(CLASSES, (21, 5)) | counts)
    if old:
        change(folder, old, new)
        change(folder, "negative_class: notumor", "negative_class: null")
        change(folder, "source: phantom", "source: mine")
    done = run("split", folder)
    assert done.returncode == status, done.stdout
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert not (folder / "data/splits.csv").exists()
