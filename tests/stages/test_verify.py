import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")


def run(stage: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a stage as DVC does, in a folder that holds params.yaml and data."""
    return subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


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
    scans = table(folder / "data/scans/scans.csv")
    assert list(scans[0]) == [
        "path", "class", "official_split", "width", "height", "mode", "pixel_hash", "group", "best_match",
    ]  # fmt: skip
    assert [scan["path"] for scan in scans] == sorted(scan["path"] for scan in scans)
    assert (scans[0]["width"], scans[0]["height"], scans[0]["mode"]) == ("16", "20", "L")
    assert np.load(folder / "data/scans/pixels.npy", mmap_mode="r").shape == (24, 224, 224)
    pairs = table(folder / "data/scans/pairs.csv")
    assert [(pair["a"], pair["b"], pair["kind"]) for pair in pairs] == [
        (str(2 * number), str(8 + 4 * number), "exact") for number in range(4)
    ]
    assert all(scans[int(pair["b"])]["group"] == pair["a"] for pair in pairs)
    copied = {pair[end] for pair in pairs for end in "ab"}
    assert {str(row) for row, scan in enumerate(scans) if scan["best_match"] == "1.000000"} == copied
    assert all(-1 < float(scan["best_match"]) <= 1 for scan in scans)
    assert table(folder / "data/scans/conflicts.csv") == []
    groups = table(folder / "data/scans/groups.csv")
    assert list(groups[0]) == ["group", "files", "a", "b", "kind", "lowest_correlation"]
    assert {(group["files"], group["kind"]) for group in groups} == {("2", "near")}
    assert all(float(group["lowest_correlation"]) > 0.9999 for group in groups)
    assert len(groups) == 4
    metrics = json.loads((folder / "metrics/data.json").read_text())
    assert (metrics["files"], metrics["decoded"], metrics["unreadable"]) == (24, 24, [])
    assert metrics["leaked_test_scans"] == {"total": 4} | dict.fromkeys(CLASSES, 1)
    assert metrics["scans"]["train"] == {"total": 16} | dict.fromkeys(CLASSES, 4)


def test_verify_lists_copies_that_stand_under_different_classes(folder: Path):
    shutil.copy(folder / "data/raw/Training/glioma/2.png", folder / "data/raw/Testing/notumor/copy.png")
    assert run("verify", folder).returncode == 0
    conflicts = table(folder / "data/scans/conflicts.csv")
    assert [tuple(conflict.values())[1:] for conflict in conflicts] == [
        ("Testing/notumor/copy.png", "notumor", "test"),
        ("Training/glioma/2.png", "glioma", "train"),
    ]
    assert conflicts[0]["group"] == conflicts[1]["group"]
    metrics = json.loads((folder / "metrics/data.json").read_text())
    assert metrics["label_conflicts"] == 1 and metrics["leaked_test_scans"]["notumor"] == 2


def test_verify_says_before_it_starts_that_the_device_is_not_there(folder: Path):
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace("device: cpu ", "device: cuda:99 "))
    done = run("verify", folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "verify.device is 'cuda:99', but PyTorch finds no such device on this machine" in done.stderr
    assert not (folder / "data/scans").exists()


def test_verify_twice_gives_the_same_bytes(folder: Path):
    def outputs() -> dict[str, bytes]:
        assert run("verify", folder).returncode == 0
        files = [*(folder / "data/scans").iterdir(), folder / "metrics/data.json"]
        return {path.name: path.read_bytes() for path in files}

    assert outputs() == outputs()


def test_verify_lists_unreadable_files_in_its_metrics(folder: Path):
    (folder / "data/raw/Training/glioma/note.txt").write_text("hello")
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace("max_unreadable: 0", "max_unreadable: 1"))
    assert run("verify", folder).returncode == 0
    metrics = json.loads((folder / "metrics/data.json").read_text())
    assert (metrics["files"], metrics["decoded"], metrics["unreadable_files"]) == (25, 24, 1)
    assert metrics["unreadable"][0]["path"] == "Training/glioma/note.txt"


def empty(folder: Path) -> None:
    shutil.rmtree(folder / "data/raw")
    (folder / "data/raw").mkdir()


def unnamed(folder: Path) -> None:
    for split in ("Training", "Testing"):
        (folder / f"data/raw/{split}/glioma").rename(folder / f"data/raw/{split}/gliom")


def unreadable(folder: Path) -> None:
    (folder / "data/raw/Testing/glioma/1.png").write_bytes(b"")


def all_of_a_class_unreadable(folder: Path) -> None:
    for path in (folder / "data/raw/Testing/glioma").iterdir():
        path.write_bytes(b"")
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace("max_unreadable: 0", "max_unreadable: 9"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (empty, ["data/raw holds no class folder", "data.source"]),
        (unnamed, ["gliom, while glioma of `classes:` is no folder"]),
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


@pytest.mark.parametrize("stage", ["verify", "split"])
def test_heavy_packages_are_not_imported(stage: str):
    code = f"import sys, stages.{stage}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "matplotlib", "sklearn"} & set(done.stdout.split())
