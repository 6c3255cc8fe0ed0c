"""What the stages predict, baselines and evaluate leave."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

import stages
from tests.stages.running import ROOT, run
from trueslice.copies import search as copies
from trueslice.copies.thumbnails import thumbnails
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import Pixels
from trueslice.records.base import Record
from trueslice.records.baselines import Baselines
from trueslice.records.external import ExternalScores
from trueslice.records.intervals import Intervals
from trueslice.records.patients import PatientScores
from trueslice.records.summary import Summary
from trueslice.records.test import ModelScores
from trueslice.records.trained import TrainedModel
from trueslice.records.withheld import Withheld
from trueslice.tables.ood import OodDistances
from trueslice.tables.predictions import BaselinePredictions, ModelPredictions, ValidationPredictions
from trueslice.tables.scans import Scans
from trueslice.tables.splits import Splits


@pytest.fixture
def copied(released, tmp_path) -> Path:
    return Path(shutil.copytree(released, tmp_path / "run"))


RECORDS = {
    "test": ModelScores,
    "intervals": Intervals,
    "patients": PatientScores,
    "baselines": Baselines,
    "external": ExternalScores,
    "withheld": Withheld,
}


def metrics(folder: Path, name: str) -> Record:
    return RECORDS[name].read(folder / stages.METRICS / f"{name}.json")


def predictions(folder: Path) -> ModelPredictions:
    return ModelPredictions.read(folder / stages.PLOTS / "predictions.csv")


def probabilities(folder: Path, scans: torch.Tensor) -> np.ndarray:
    """What the fine-tuned encoder says of scans, [N, 1, S, S], at the temperature that validation chose."""
    encoder = Encoder.load(folder / stages.FINETUNED, "cpu")
    trained = TrainedModel.read(folder / stages.FINETUNED / "trueslice.json")
    side = encoder.image_size
    small = Pixels(scans.numpy()[:, 0], np.arange(len(scans)), side, torch.device("cpu")).all()
    with torch.inference_mode():
        logits = encoder.logits(small, encoder.encode_classes(list(trained.classes.values())))
    return (logits.double() / trained.temperature).softmax(dim=1).numpy()


@pytest.mark.parametrize("part", ["test", "val"])
def test_predictions_are_what_the_encoder_says_of_each_scan(released, part):
    kind = {"test": ("plots/predictions.csv", ModelPredictions), "val": (stages.VALIDATION, ValidationPredictions)}[
        part
    ]
    found, splits = kind[1].read(released / kind[0]), Splits.read(released / stages.SPLITS)
    rows, train = (np.flatnonzero(splits.split == name) for name in (part, "train"))
    pixels = np.load(released / stages.SCANS / "pixels.npy")
    expected = probabilities(released, torch.from_numpy(pixels[rows])[:, None])
    assert found.probabilities == pytest.approx(expected, abs=1e-4)
    assert np.array_equal(found.y_pred, found.probabilities.argmax(axis=1))
    assert found.path.tolist() == splits.path[rows].tolist()
    assert np.array(found.class_names)[found.y_true].tolist() == splits.class_name[rows].tolist()
    assert found.distance == pytest.approx(1 - _nearest(pixels[rows], pixels[train]), abs=2e-3)
    if part == "test":
        turned = probabilities(released, torch.from_numpy(pixels[rows][:, ::-1].copy())[:, None])
        assert np.array_equal(found.upside_down, turned.argmax(axis=1))
        similarity = copies.nearest_training(thumbnails(pixels[rows]), thumbnails(pixels[train]))
        assert found.similarity == pytest.approx(similarity, abs=1e-5)


def _nearest(scans: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Mean of the five highest correlations of coarse thumbnails, of the scans as they are or mirrored."""
    small = [thumbnails(part, 16).reshape(len(part), -1) for part in (scans, scans[:, :, ::-1], train)]
    correlations = np.corrcoef(np.concatenate(small))
    same, mirrored, known = np.split(np.arange(len(correlations)), np.cumsum([len(scans), len(scans)]))
    best = np.maximum(correlations[np.ix_(same, known)], correlations[np.ix_(mirrored, known)])
    return np.sort(best, axis=1)[:, -5:].mean(axis=1)


def test_pictures_that_are_no_scans_are_measured_too(released):
    table = OodDistances.read(released / stages.OOD)
    assert {"photographs", "noise", "upside-down scans"} <= {*table.kind}
    assert table.distance.min() >= 0 and (table.kind == "upside-down scans").sum() == 40


def test_a_scan_is_exposed_if_a_copy_or_its_patient_was_trained_or_validated_on(released):
    found, splits = predictions(released), Splits.read(released / stages.SPLITS)
    fitted = splits.take(np.isin(splits.split, ["train", "val"]))
    is_copy, is_patient = (
        np.isin(found.group, fitted.group),
        np.isin(found.patient, fitted.patient[fitted.patient != ""]),
    )
    assert np.array_equal(found.exposure == "copy", is_copy)
    assert np.array_equal(found.exposure == "patient", is_patient & ~is_copy) and is_patient.any()


def test_baselines_are_a_table_of_the_same_scans(released):
    found, model = BaselinePredictions.read(released / stages.BASELINES), predictions(released)
    names = list(dict.fromkeys(found.baseline.tolist()))
    assert names == ["nearest_neighbour", "border_strips", "grey_histogram", "zero_shot", "linear_probe"]
    for name in names:
        own = found.take(found.baseline == name)
        for column in ("path", "pixel_hash", "group", "unit", "leaked", "exposure", "y_true"):
            assert np.array_equal(getattr(own, column), getattr(model, column))
        assert np.array_equal(own.y_pred, own.probabilities.argmax(axis=1))
        assert own.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-6)
    nearest = found.take(found.baseline == "nearest_neighbour")
    assert (nearest.probabilities.max(axis=1) == 1).all()


def test_the_metrics_follow_from_the_tables(released):
    found, test = predictions(released), metrics(released, "test")
    accuracy = accuracy_score(found.y_true, found.y_pred)
    assert test.accuracy == pytest.approx(accuracy, abs=1e-9)
    intervals = metrics(released, "intervals")
    baselines = metrics(released, "baselines").baselines
    summary = Summary.read(released / stages.METRICS / "summary.json")
    assert summary.accuracy == round(accuracy, 4)
    assert (summary.patient, summary.best_epoch) == ((found.exposure == "patient").sum(), 1)
    assert intervals.unit.count == len(np.unique(found.unit))
    assert {row.value for row in test.by if row.column == "mode"} == {
        *Scans.read(released / stages.SCANS / "scans.csv").mode
    }
    table = BaselinePredictions.read(released / stages.BASELINES)
    for row in baselines:
        own = table.take(table.baseline == row.baseline)
        assert row.accuracy == pytest.approx(accuracy_score(own.y_true, own.y_pred), abs=1e-9)
        expected = f1_score(own.y_true, own.y_pred, average="macro", labels=range(4))
        assert row.macro_f1 == pytest.approx(expected, abs=1e-9)
    for name in found.class_names:
        row = next(row for row in test.classes if row.class_name == name)
        assert row.recall == intervals.find("recall", name).value


def test_the_scores_per_patient_follow_from_the_tables_and_the_temperature_beside_them(released):
    found, of_patients = predictions(released), metrics(released, "patients")
    means = {name: found.probabilities[found.patient == name].mean(axis=0) for name in np.unique(found.patient)}
    y_true = np.array([found.y_true[found.patient == name][0] for name in means])
    shares = np.array(list(means.values())) ** (1 / of_patients.temperature)
    shares /= shares.sum(axis=1, keepdims=True)
    right = shares.argmax(axis=1) == y_true
    assert (of_patients.patients, of_patients.scans) == (len(means), len(found))
    assert of_patients.find("accuracy").value == pytest.approx(right.mean())
    assert of_patients.find("nll").value == pytest.approx(-np.log(shares[np.arange(len(shares)), y_true]).mean())
    validation = ValidationPredictions.read(released / stages.VALIDATION)
    assert of_patients.validation_patients == len(np.unique(validation.patient))
    assert Summary.read(released / stages.METRICS / "summary.json").per_patient == round(right.mean(), 4)


def test_evaluate_needs_neither_torch_nor_a_model(copied):
    for part in ("models", "data/scans/pixels.npy", "data/scans/thumbnails.npy", "data/splits.csv"):
        shutil.rmtree(copied / part) if (copied / part).is_dir() else (copied / part).unlink()
    before = {name: metrics(copied, name) for name in RECORDS}
    program = (
        "import sys, runpy; runpy.run_module('stages.evaluate', run_name='__main__')\n"
        "print([name for name in ('torch', 'transformers', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], cwd=copied, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert {name: metrics(copied, name) for name in before} == before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("plots/predictions.csv", "path\n1.jpg\n", "plots/predictions.csv is damaged: it has no column pixel_hash"),
        ("data/validation.csv", None, "data/validation.csv is missing; run `dvc repro`, which"),
    ],
)
def test_what_is_missing_or_damaged_ends_evaluate_in_one_line(copied, name, content, said):
    (copied / name).unlink()
    if content is not None:
        (copied / name).write_text(content)
    done = run("evaluate", copied)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1


def test_the_summary_is_the_one_metric_of_dvc_and_its_changes_fit_on_a_screen(project, released):
    shutil.copytree(released / stages.METRICS, project.root / stages.METRICS)
    path = project.root / stages.METRICS / "summary.json"
    project.run("git add -f metrics && git commit -qm run", check=True)
    Summary.read(path).model_copy(update={"accuracy": 0.1234, "copied": 1311, "ahead": -0.1234}).write(path)
    listed = json.loads(project.run("dvc metrics show --json", check=True).stdout)[""]["data"]
    assert list(listed) == ["metrics/summary.json"]
    changes = project.run("dvc metrics diff --all", check=True).stdout
    assert "recall.glioma" in changes and "0.1234" in changes
    assert len(changes.splitlines()) <= 17 and max(map(len, changes.splitlines())) <= 80, changes
