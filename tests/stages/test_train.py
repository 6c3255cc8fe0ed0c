"""What training may look at: the training and validation scans, and nothing of the test."""

import csv
import hashlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages import FINETUNED, METRICS, PLOTS, PRETRAINED, SCANS, SPLITS
from tumorclip.files import write_json
from tumorclip.model import builtin as tiny

ROOT = Path(__file__).parents[2]
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
SPLIT_OF = ["train"] * 4 + ["val"] * 2 + ["test"] * 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with all that the train stage reads: 48 scans of noise that is brighter from class to class."""
    folder = tmp_path_factory.mktemp("train")
    params = (ROOT / "params.yaml").read_text()
    for old, new in (("epochs: 14", "epochs: 2"), ("batch_size: 16", "batch_size: 8"), ("device: auto", "device: cpu")):
        assert old in params
        params = params.replace(old, new)
    (folder / "params.yaml").write_text(params)
    pixels = np.random.default_rng(0).integers(0, 100, (48, 64, 64))
    (folder / SCANS).mkdir(parents=True)
    np.save(folder / SCANS / "pixels.npy", (pixels + 40 * np.repeat(range(4), 12)[:, None, None]).astype(np.uint8))
    rows = [
        {"row": row, "path": f"{row}.png", "class": CLASSES[row // 12], "group": row, "pixel_hash": f"{row:032x}"}
        | {"split": SPLIT_OF[row % 12], "leaked": 0}
        for row in range(48)
    ]
    write(folder, rows)
    tiny.build(folder / PRETRAINED, seed=0)
    write_json(folder / PRETRAINED / "checkpoint.json", {"name": "tiny", "revision": None})
    train(folder)
    return folder


def write(folder: Path, rows: list[dict]) -> None:
    with (folder / SPLITS).open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def read(folder: Path) -> list[dict]:
    with (folder / SPLITS).open(newline="") as file:
        return list(csv.DictReader(file))


def train(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stages.train"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def digests(folder: Path) -> dict[str, str]:
    files = [*(folder / FINETUNED).iterdir(), folder / METRICS / "train.json", folder / PLOTS / "steps.csv"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def again(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "again"))


def test_shuffled_test_labels_change_no_byte_of_the_model_or_its_metrics(folder: Path, again: Path):
    rows = read(again)
    test = [row for row in rows if row["split"] == "test"]
    labels = [row["class"] for row in test]
    random.Random(0).shuffle(labels)
    assert labels != [row["class"] for row in test]
    for row, label in zip(test, labels, strict=True):
        row |= {"class": label, "leaked": "1", "group": "0"}
    write(again, rows)
    train(again)
    assert len(digests(folder)) > 5
    assert digests(again) == digests(folder)


def test_one_changed_training_label_changes_the_model(folder: Path, again: Path):
    rows = read(again)
    next(row for row in rows if row["split"] == "train")["class"] = "pituitary"
    write(again, rows)
    train(again)
    assert digests(again)["model.safetensors"] != digests(folder)["model.safetensors"]
