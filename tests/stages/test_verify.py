import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.stages.running import ROOT, run
from trueslice.tables.scans import Conflicts, Groups, Pairs, Scans

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 16), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four scans per class in Training and two in Testing; the first test scan is a copy of the first training scan."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for number, name in enumerate(CLASSES):
        for index in range(4):
            draw(tmp_path / f"data/raw/Training/{name}/{index}.png", 10 * number + index)
        for index in range(2):
            draw(tmp_path / f"data/raw/Testing/{name}/{index}.png", 10 * number + 7 * index)
    return tmp_path


def test_verify_writes_pixels_tables_and_counts(folder: Path):
    done = run("verify", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("verify: 24 scans, 0 files unreadable, 4 exact copies, 20 distinct scans, 4 test")
    folders = folder / "data/scans"
    header = (
        "path,class,official_split,width,height,mode,pixel_hash,group,patient,source,source_class,plane,best_match\n"
    )
    assert (folders / "scans.csv").read_text().startswith(header)
    scans = Scans.read(folders / "scans.csv")
    assert scans.path.tolist() == sorted(scans.path)
    assert (scans.width[0], scans.height[0], scans.mode[0]) == (16, 20, "L")
    assert np.load(folders / "pixels.npy", mmap_mode="r").shape == (24, 224, 224)
    pairs = Pairs.read(folders / "pairs.csv")
    assert pairs.a.tolist() == [0, 2, 4, 6]
    assert pairs.b.tolist() == [8, 12, 16, 20]
    assert set(pairs.kind) == {"exact"}
    assert (scans.group[pairs.b] == pairs.a).all()
    copied = np.union1d(pairs.a, pairs.b)
    assert np.flatnonzero(scans.best_match == 1).tolist() == copied.tolist()
    assert (np.abs(scans.best_match) <= 1).all()
    assert len(Conflicts.read(folders / "conflicts.csv")) == 0
    weakest = Groups.read(folders / "groups.csv")
    assert (folders / "groups.csv").read_text().startswith("group,files,a,b,kind,lowest_correlation\n")
    assert (set(weakest.files), set(weakest.kind), len(weakest)) == ({2}, {"near"}, 4)
    assert (weakest.lowest_correlation == 1).all()
    metrics = json.loads((folder / "metrics/data.json").read_text())
    assert (metrics["files"], metrics["decoded"], metrics["unreadable"]) == (24, 24, [])
    assert (metrics["leaked_test_scans"], metrics["test_scans"]) == (4, 8)
    expected = {"scans": 6, "train": 4, "test": 2, "distinct": 5, "leaked": 1, "patients": 0, "without_patient": 6}
    assert [{key: row[key] for key in ("class", *expected)} for row in metrics["classes"]] == [
        {"class": name} | expected for name in CLASSES
    ]
    assert (metrics["patients"], metrics["scans_without_patient"], metrics["source_conflicts"]) == (0, 24, 0)
    assert sum(row["copies"] for row in metrics["best_matches"]) == 8
    # Each with the test scan first.
    assert sorted((pair["a"], pair["b"]) for pair in metrics["examples"]) == [(0, 8), (2, 12), (4, 16), (6, 20)]


def test_verify_lists_copies_that_stand_under_different_classes(folder: Path):
    shutil.copy(folder / "data/raw/Training/glioma/2.png", folder / "data/raw/Testing/notumor/copy.png")
    assert run("verify", folder).returncode == 0
    conflicts = Conflicts.read(folder / "data/scans/conflicts.csv")
    assert list(zip(conflicts.path, conflicts.class_name, conflicts.official_split, strict=True)) == [
        ("Testing/notumor/copy.png", "notumor", "test"),
        ("Training/glioma/2.png", "glioma", "train"),
    ]
    assert len(set(conflicts.group)) == 1
    metrics = json.loads((folder / "metrics/data.json").read_text())
    assert metrics["label_conflicts"] == 1 and metrics["classes"][2]["leaked"] == 2
    assert "notumor / glioma" in {pair["class"] for pair in metrics["examples"]}


TABLE = "path,patient,source_class\nTesting/glioma/1.png,7,glioma\nTraining/glioma/2.png,7,pituitary\n"


@pytest.mark.parametrize(
    ("wanted", "place"), [("own.csv", "own.csv"), ("auto", "data/raw/patients.csv"), ("null", "data/raw/patients.csv")]
)
def test_verify_tells_patients_by_a_table_of_the_user_or_of_the_source(folder: Path, wanted: str, place: str):
    (folder / place).write_text(TABLE)
    set_patients(folder, wanted)
    done = run("verify", folder)
    assert done.returncode == 0, done.stderr
    scans = Scans.read(folder / "data/scans/scans.csv")
    conflicts = Conflicts.read(folder / "data/scans/conflicts.csv")
    if wanted == "null":
        assert set(scans.patient) == set(scans.source_class) == {""} and len(conflicts) == 0
    else:
        assert scans.path[scans.patient == "7"].tolist() == ["Testing/glioma/1.png", "Training/glioma/2.png"]
        assert set(scans.patient) == {"", "7"} and set(scans.source_class) == {"", "glioma", "pituitary"}
        assert conflicts.path.tolist() == ["Training/glioma/2.png"]


def set_patients(folder: Path, value: str) -> None:
    params = (folder / "params.yaml").read_text()
    assert "  patients: auto " in params
    (folder / "params.yaml").write_text(params.replace("  patients: auto ", f"  patients: {value} "))


def test_verify_says_that_the_table_of_patients_is_missing(folder: Path):
    set_patients(folder, "nowhere.csv")
    done = run("verify", folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "verify.patients is 'nowhere.csv', but there is no such file" in done.stderr
    assert not (folder / "data/scans").exists()


def test_verify_says_before_it_starts_that_the_device_is_not_there(folder: Path):
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace("device: cpu ", "device: cuda:99 "))
    done = run("verify", folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "verify.device is 'cuda:99', but PyTorch finds" in done.stderr
    assert not (folder / "data/scans").exists()


def test_verify_lists_unreadable_files_in_its_metrics(folder: Path):
    (folder / "data/raw/Training/glioma/note.txt").write_text("hello")
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace("max_unreadable: 0", "max_unreadable: 1"))
    assert run("verify", folder).returncode == 0
    metrics = json.loads((folder / "metrics/data.json").read_text())
    assert (metrics["files"], metrics["decoded"], metrics["unreadable_files"]) == (25, 24, 1)
    assert metrics["unreadable"][0]["path"] == "Training/glioma/note.txt"


def test_verify_obeys_decisions_about_labels_and_copies(folder: Path):
    assert run("verify", folder).returncode == 0
    pixels = np.load(folder / "data/scans/pixels.npy")
    before = Scans.read(folder / "data/scans/scans.csv")
    # Testing/glioma/0.png and Training/glioma/0.png are copies; all others are alone.
    (folder / "decisions.csv").write_text(
        "path,other,decision,class\n"
        "Training/glioma/1.png,,wrong,pituitary\nTraining/notumor/1.png,,wrong,\nTraining/notumor/2.png,,right,\n"
        "Testing/glioma/0.png,Training/glioma/0.png,different,\nTesting/notumor/1.png,Training/notumor/3.png,same,\n"
        "Testing/other/9.png,,wrong,\n"
    )
    (folder / "own.csv").write_text("path,patient\nTraining/notumor/1.png,7\n")  # left out, and still known
    set_patients(folder, "own.csv")
    done = run("verify", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == [
        "decisions.csv: 1 in another class, 1 left out, 1 pairs the same, 1 pairs different",
        "decisions.csv decides about 1 scans that are not there: Testing/other/9.png",
    ]
    scans = Scans.read(folder / "data/scans/scans.csv")
    left = before.path != "Training/notumor/1.png"
    assert scans.path.tolist() == before.path[left].tolist()
    assert (np.load(folder / "data/scans/pixels.npy") == pixels[left]).all()
    moved = scans.path == "Training/glioma/1.png"
    assert scans.class_name[moved] == "pituitary" and (scans.class_name == before.class_name[left])[~moved].all()
    group = dict(zip(scans.path.tolist(), scans.group.tolist(), strict=True))
    assert group["Testing/glioma/0.png"] != group["Training/glioma/0.png"]
    assert group["Testing/notumor/1.png"] == group["Training/notumor/3.png"]
    assert json.loads((folder / "metrics/data.json").read_text())["leaked_test_scans"] == 4


def contradicting(folder: Path) -> None:
    (folder / "decisions.csv").write_text("path,other,decision,class\nTesting/glioma/0.png,,wrong,tumour\n")


def unreadable(folder: Path) -> None:
    (folder / "data/raw/Testing/glioma/1.png").write_bytes(b"")


def all_of_a_class_unreadable(folder: Path) -> None:
    for path in (folder / "data/raw/Testing/glioma").iterdir():
        path.write_bytes(b"")
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace("max_unreadable: 0", "max_unreadable: 9"))


def patients_of_other_scans(folder: Path) -> None:
    (folder / "own.csv").write_text(TABLE.replace("ing/glioma", "ing/other"))
    set_patients(folder, "own.csv")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (patients_of_other_scans, ["own.csv fits no file of these scans", "as in the folder of scans"]),
        (contradicting, ["decisions.csv gives 'Testing/glioma/0.png' the class 'tumour'", "not under `classes:`"]),
        (unreadable, ["1 of 24 files cannot be read: Testing/glioma/1.png (the file is empty)", "max_unreadable"]),
        (all_of_a_class_unreadable, ["no scans of glioma in Testing/"]),
    ],
)
def test_verify_ends_in_one_line_and_keeps_what_was_there(folder: Path, spoil, words: list[str]):
    assert run("verify", folder).returncode == 0
    before = (folder / "data/scans/scans.csv").read_bytes()
    spoil(folder)
    done = run("verify", folder)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert (folder / "data/scans/scans.csv").read_bytes() == before
    assert sorted(path.name for path in (folder / "data").iterdir()) == ["raw", "scans"]
