"""The stage as DVC runs it: a process in a repository, files in, figures out."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tumorclip.data import groups as audit
from tumorclip.data import split as splitting
from tumorclip.evaluate import baselines
from tumorclip.evaluate import score as scoring
from tumorclip.files import read_json, write_csv, write_json

ROOT = Path(__file__).parents[2]
FIGURES = [
    "accuracy_by_similarity.png", "confusion_matrix.png", "copy_matches.png", "leaked_pairs.png", "leaked_share.png",
    "per_class_accuracy.png", "per_class_f1_score.png", "reliability.png", "train_vs_test_accuracy.png",
    "training_loss.png",
]  # fmt: skip


@pytest.fixture
def repository(tmp_path):
    """A folder with the inputs of the stage: two epochs of three steps, six test scans, one of them a copy."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    columns = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
    epochs = [dict(zip(columns, row, strict=True)) for row in ((1, 1.2, 0.4, 1.3, 0.3), (2, 0.8, 0.7, 0.9, 0.6))]
    steps = [{"step": step, "loss": 1.4 / step, "learning_rate": 1e-3} for step in range(1, 7)]
    write_json(tmp_path / "metrics/train.json", {"best_epoch": 2, "temperature": 1.5, "epochs": epochs})
    write_csv(tmp_path / "plots/steps.csv", ["step", "loss", "learning_rate"], steps)
    evaluated(tmp_path, np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 1, 1, 2, 0]), np.zeros(6, bool))
    audited(tmp_path, ["train"] * 4 + ["test"] * 4, [0, 1, 2, 3, 0, 5, 6, 7])
    return tmp_path


def evaluated(folder: Path, actual: np.ndarray, predicted: np.ndarray, leaked: np.ndarray) -> None:
    """Write what the evaluation of these test scans, of which none copies another, leaves behind."""
    names, groups = ["glioma", "meningioma", "notumor", "pituitary"], np.arange(len(actual))
    probabilities = np.where(np.eye(4)[predicted] > 0, 0.7, 0.1)
    predictions = scoring.Predictions(actual, probabilities, probabilities, groups, leaked)
    scores, intervals = scoring.evaluate(predictions, names, "notumor", bool(leaked.any()), predicted)
    write_json(folder / "metrics/test.json", scores)
    write_json(folder / "metrics/intervals.json", {"intervals": intervals})
    guesses = {name: predicted for name in ("nearest_neighbour", "border_strips", "grey_histogram", "zero_shot")}
    write_json(folder / "metrics/baselines.json", baselines.evaluate(actual, groups, guesses, names, "notumor"))
    rows = [
        {"group": row, "similarity": 0.9, "actual": names[actual[row]], "predicted": names[predicted[row]]}
        | {f"probability_{name}": share for name, share in zip(names, probabilities[row], strict=True)}
        for row in groups
    ]
    write_csv(folder / "plots/predictions.csv", list(rows[0]), rows)


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
    write_json(folder / "metrics/data.json", {"decoded": 8, "unreadable_files": 0, **counts})
    parts = np.array(["train", "val", "test", "train"] * 2)
    placed = splitting.Split("official", parts, np.full(8, ""), np.zeros(8, bool), np.zeros(8, bool))
    write_json(folder / "metrics/split.json", splitting.count(placed, np.array(names)) | {"conflicting": []})


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
    assert first.stdout == "plot: 10 figures in plots/figures, plots/report.html\n"
    assert sorted(path.name for path in folder.iterdir()) == FIGURES
    drawn = {name: (folder / name).read_bytes() for name in FIGURES}
    page = (repository / "plots/report.html").read_text()
    assert len(set(drawn.values())) == 10
    for name in FIGURES:
        with Image.open(folder / name) as image:
            image.verify()
    assert run(repository).returncode == 0
    assert {name: (folder / name).read_bytes() for name in FIGURES} == drawn
    assert (repository / "plots/report.html").read_text() == page


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


def test_the_report_shows_the_runs_numbers_and_links_every_figure(repository):
    assert run(repository).returncode == 0
    page = (repository / "plots/report.html").read_text()
    links = re.findall(r'<img src="([^"]*)"', page)
    assert sorted(links) == [f"figures/{name}" for name in FIGURES]
    accuracy = read_json(repository / "metrics/test.json")["accuracy"]
    assert f"<strong>{accuracy:.1%}</strong>" in page
    assert "glioma (2), meningioma (2), notumor (1) and pituitary (1)" in page, "distinct test scans"
    assert "One temperature, 1.5," in page
    assert "The scans are phantoms" in page


@pytest.mark.parametrize("leaked", [40, 20])
def test_it_holds_leaked_scans_against_clean_ones_where_a_class_has_enough_of_both(repository, leaked):
    evaluated(repository, np.repeat([0, 1, 2, 3], [80, 1, 1, 1]), np.zeros(83, int), np.arange(83) < leaked)
    done = run(repository)
    assert (done.returncode, done.stderr) == (0, "")
    assert (repository / "plots/figures/leaked_against_clean.png").exists() == (leaked == 40)


def test_it_starts_without_torch(repository):
    code = "import sys, stages.plot; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
