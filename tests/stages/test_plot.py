"""The stage as DVC runs it: a process in a repository, files in, figures out."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tumorclip.files import write_csv, write_json
from tumorclip.results.scoring import score
from tumorclip.scans import audit

ROOT = Path(__file__).parents[2]
FIGURES = [
    "confusion_matrix.png", "copy_matches.png", "leaked_pairs.png", "leaked_share.png", "per_class_accuracy.png",
    "per_class_f1_score.png", "train_vs_test_accuracy.png", "training_loss.png",
]  # fmt: skip


@pytest.fixture
def repository(tmp_path):
    """A folder with the inputs of the stage: two epochs of three steps, six test scans, one of them a copy."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    columns = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
    epochs = [dict(zip(columns, row, strict=True)) for row in ((1, 1.2, 0.4, 1.3, 0.3), (2, 0.8, 0.7, 0.9, 0.6))]
    steps = [{"step": step, "loss": 1.4 / step, "learning_rate": 1e-3} for step in range(1, 7)]
    write_json(tmp_path / "metrics/train.json", {"best_epoch": 2, "epochs": epochs})
    write_csv(tmp_path / "plots/steps.csv", ["step", "loss", "learning_rate"], steps)
    actual, predicted = np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 1, 1, 2, 0])
    names = ["glioma", "meningioma", "notumor", "pituitary"]
    write_json(tmp_path / "metrics/test.json", score(actual, predicted, names, "notumor"))
    audited(tmp_path, ["train"] * 4 + ["test"] * 4, [0, 1, 2, 3, 0, 5, 6, 7])
    return tmp_path


def audited(folder: Path, splits: list[str], groups: list[int]) -> None:
    """Write what the audit of eight scans leaves behind; each scan of a group is a mirrored copy of its first one."""
    names = ["glioma", "meningioma", "notumor", "pituitary"] * 2
    scans = [
        {"class": name, "official_split": split, "group": group, "best_match": 0.99 if groups.count(group) > 1 else 0.5}
        for name, split, group in zip(names, splits, groups, strict=True)
    ]
    pairs = [audit.Pair(group, row, "mirrored", 0.99) for row, group in enumerate(groups) if group != row]
    write_csv(folder / "data/scans/scans.csv", list(scans[0]), scans)
    write_csv(folder / "data/scans/pairs.csv", list(audit.Pair._fields), [pair._asdict() for pair in pairs])
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32), dtype=np.uint8)
    np.save(folder / "data/scans/pixels.npy", pixels)
    counts = audit.summarise(np.array(splits), np.array(names), np.array(groups), pairs)
    write_json(folder / "metrics/data.json", counts)


def run(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "stages.plot"],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip


def test_it_draws_its_figures_and_the_same_bytes_again(repository):
    folder = repository / "plots/figures"
    folder.mkdir()
    (folder / "of_an_older_run.png").write_bytes(b"")
    first = run(repository)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == "plot: 8 figures in plots/figures\n"
    assert sorted(path.name for path in folder.iterdir()) == FIGURES
    drawn = {name: (folder / name).read_bytes() for name in FIGURES}
    assert len(set(drawn.values())) == 8
    for name in FIGURES:
        with Image.open(folder / name) as image:
            image.verify()
    assert run(repository).returncode == 0
    assert {name: (folder / name).read_bytes() for name in FIGURES} == drawn


@pytest.mark.parametrize(
    ("splits", "groups", "missing"),
    [
        (["train"] * 4 + ["test"] * 4, [0, 0, *range(2, 8)], {"leaked_pairs.png"}),
        ([""] * 8, [0, 1, 2, 3, 0, 5, 6, 7], {"leaked_share.png"}),
        ([""] * 8, list(range(8)), {"leaked_pairs.png", "leaked_share.png"}),
    ],
    ids=["copies, but none in test", "no test set", "no test set and no copies"],
)
def test_it_leaves_out_figures_of_what_is_not_there(repository, splits, groups, missing):
    audited(repository, splits, groups)
    done = run(repository)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (repository / "plots/figures").iterdir()} == set(FIGURES) - missing


def test_it_starts_without_torch(repository):
    code = "import sys, stages.plot; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
