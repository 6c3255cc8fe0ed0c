"""The plain script of benchmarks/plain.py: a peer must not lose by a mistake in it."""

import json
import sys

import numpy as np
import pytest
import torch

import stages
from tests.scan_tables import split_table
from trueslice.tables.predictions import Predictions

plain = pytest.importorskip("benchmarks.plain")

pytestmark = pytest.mark.slow

PARTS = ("train",) * 32 + ("val",) * 8 + ("dropped",) * 2 + ("test",) * 10


@pytest.fixture
def run(tmp_path):
    """Scans of two classes that are easily told apart: stripes from left to right, or from top to bottom."""
    noise = np.random.default_rng(0).integers(0, 60, (len(PARTS), 64, 64))
    stripes = np.broadcast_to(np.arange(64) // 8 % 2 * 150, (64, 64))
    noise[::2] += stripes
    noise[1::2] += stripes.T
    (tmp_path / stages.SCANS).mkdir(parents=True)
    np.save(tmp_path / stages.SCANS / "pixels.npy", noise.astype(np.uint8))
    split_table(["across", "down"] * (len(PARTS) // 2), PARTS).write(tmp_path / stages.SPLITS)
    return tmp_path


def test_it_learns_and_its_predictions_are_those_of_the_test_scans(run, monkeypatch):
    options = ["--out", str(run / "out"), "--size", "32", "--epochs", "4", "--frozen"]
    monkeypatch.setattr(sys, "argv", ["plain", str(run), *options])
    plain.main()
    scores = json.loads((run / "out/scores.json").read_text())
    found = Predictions.read(run / "out/predictions.csv")
    assert found.class_names == ("across", "down") and found.path.tolist() == [f"{row}.png" for row in range(42, 52)]
    assert scores["test_accuracy"] == (found.y_pred == found.y_true).mean() >= 0.9
    assert scores["val_accuracy"] == max(scores["val_accuracies"]) and len(scores["val_accuracies"]) == 4
    assert scores["cpu_seconds"] > 0 and scores["frozen"]


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_statistics_of_batch_normalisation_stay_those_of_imagenet(frozen):
    model = plain.build("lite0", classes=2)
    before = model.bn1.running_mean.clone()
    options = plain.argparse.Namespace(epochs=1, frozen=frozen)
    rows = torch.arange(4)
    plain.fit(model, torch.zeros(4, 1, 32, 32, dtype=torch.uint8), rows % 2, rows, rows, options)
    assert model.bn1.running_mean.equal(before) == frozen
