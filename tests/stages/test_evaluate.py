"""The stages predict, baselines and evaluate, as processes of their own, on 48 scans of noise."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from sklearn.metrics import accuracy_score, f1_score

import stages
from tests.made import external_table
from tests.stages.running import ROOT, run
from trueslice.copies import search as copies
from trueslice.copies.thumbnails import thumbnails
from trueslice.files import write_json
from trueslice.model.encoder import Encoder
from trueslice.records.base import Record
from trueslice.records.baselines import Baselines
from trueslice.records.external import ExternalScores
from trueslice.records.intervals import Intervals, Unit
from trueslice.records.summary import Summary
from trueslice.records.test import ModelScores
from trueslice.records.train import Epoch
from trueslice.tables.explanations import Explanations
from trueslice.tables.ood import OodDistances
from trueslice.tables.predictions import BaselinePredictions, ModelPredictions, Predictions
from trueslice.tables.scans import Scans
from trueslice.tables.splits import Splits
from trueslice.train.history import History

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
TEMPERATURE = 2.5


def prepare(folder: Path, tiny: Path) -> None:
    """All that the three stages read.

    Every third scan is a test scan. Scan 0 has a copy among the training scans, scan 3 among the validation scans.
    """
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params["train"]["device"] = "cpu"
    yaml.dump(params, folder / "params.yaml")
    (folder / stages.SCANS).mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 100, (48, 64, 64)) + 40 * (np.arange(48) % 4)[:, None, None]
    pixels[1], pixels[2] = pixels[0], pixels[3]
    np.save(folder / stages.SCANS / "pixels.npy", pixels.astype(np.uint8))
    np.save(folder / stages.SCANS / "thumbnails.npy", copies.thumbnails(pixels.astype(np.uint8)))
    numbers = np.arange(48)
    columns = {
        "path": np.array([f"{CLASSES[number % 4]}/{number:02}.png" for number in numbers]),
        "class_name": np.array(CLASSES)[numbers % 4],
        "pixel_hash": np.array([f"{number:032x}" for number in numbers]),
        "group": np.array([0, 0, 2, 2, *range(4, 48)]),
        "patient": np.array([*[""] * 5, *["p"] * 2, *[""] * 41]),
    }
    split = np.where(numbers % 3 == 0, "test", np.where(numbers % 9 == 2, "val", "train"))
    unit = np.array([0, 0, 2, 2, 4, 5, 5, *range(7, 48)])
    leaked = np.where(numbers == 0, "copy", "")
    Splits(**columns, unit=unit, split=split, reason=np.full(48, ""), leaked=leaked).write(folder / stages.SPLITS)
    beside = dict.fromkeys(("official_split", "source", "source_class", "plane"), np.full(48, ""))
    sizes = dict.fromkeys(("width", "height"), np.full(48, 64))
    mode, best_match = np.where(numbers % 2, "L", "RGB"), np.zeros(48)
    Scans(**columns, **beside, **sizes, mode=mode, best_match=best_match).write(folder / stages.SCANS / "scans.csv")
    for model in (stages.PRETRAINED, stages.FINETUNED):
        shutil.copytree(tiny, folder / model)
    write_json(folder / stages.FINETUNED / "trueslice.json", {"temperature": TEMPERATURE})
    prepare_external(folder)
    Explanations.empty().write(folder / stages.EXPLANATIONS)
    epochs = [Epoch(**dict.fromkeys(Epoch.model_fields, 1.0 - epoch / 20) | {"epoch": epoch}) for epoch in (1, 2)]
    History(epochs=epochs, best_epoch=2).summary().write(folder / stages.METRICS / "train.json")


def prepare_external(folder: Path) -> None:
    """What the stage `external` leaves: a set of six scans, of which one glioma is a copy of a development scan."""
    rows = [(0, 0, ""), (0, 1, ""), (0, 0, "development"), (2, 2, ""), (2, 2, ""), (2, 0, "")]
    external_table(rows).write(folder / stages.PLOTS / "external.csv")
    write_json(folder / stages.EXTERNAL, {"sets": [{"set": "other", "files": 6, "unreadable": 0, "without_class": []}]})


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_folder) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    prepare(folder, tiny_folder)
    for stage in ("predict", "baselines", "evaluate"):
        done = run(stage, folder)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{stage}: 16 test scans, ") and done.stdout.count("\n") == 1
    return folder


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


RECORDS = {"test": ModelScores, "intervals": Intervals, "baselines": Baselines, "external": ExternalScores}


def metrics(folder: Path, name: str) -> Record:
    return RECORDS[name].read(folder / stages.METRICS / f"{name}.json")


def predictions(folder: Path) -> ModelPredictions:
    return ModelPredictions.read(folder / stages.PLOTS / "predictions.csv")


def test_predictions_are_what_the_encoder_says_of_each_test_scan(finished):
    found = predictions(finished)
    pixels = np.load(finished / stages.SCANS / "pixels.npy")
    test = np.arange(0, 48, 3)
    encoder = Encoder.load(finished / stages.FINETUNED, "cpu")
    scans = torch.from_numpy(pixels[test])[:, None]
    assert encoder.image_size == 64
    captions = list(YAML(typ="safe").load(ROOT / "params.yaml")["classes"].values())
    with torch.inference_mode():
        classes = encoder.encode_classes(captions)
        logits, upside_down = encoder.logits([scans], classes), encoder.logits([scans.flip(-2)], classes)
    probabilities = (logits.double() / TEMPERATURE).softmax(dim=1).numpy()
    assert found.class_names == CLASSES
    assert found.logits == pytest.approx(logits.numpy(), abs=1e-4)
    assert found.probabilities == pytest.approx(probabilities, abs=1e-5)
    assert np.array_equal(found.y_pred, probabilities.argmax(axis=1))
    assert np.array_equal(found.upside_down, upside_down.numpy().argmax(axis=1))
    assert np.array_equal(found.y_true, test % 4)
    splits = Splits.read(finished / stages.SPLITS)
    assert found.path.tolist() == splits.path[test].tolist()
    train = pixels[splits.split == "train"]
    similarity = copies.nearest_training(copies.thumbnails(pixels[test]), copies.thumbnails(train))
    assert found.similarity == pytest.approx(similarity, abs=1e-5)
    assert found.similarity[0] == pytest.approx(1, abs=1e-5)
    assert found.distance == pytest.approx(1 - _nearest(pixels[test], train), abs=2e-3)
    features = np.load(finished / stages.FEATURES)
    with torch.inference_mode():
        expected = encoder.image_features(torch.from_numpy(pixels)[:, None])
    assert features.dtype == np.float32 and features == pytest.approx(expected.numpy(), abs=1e-4)


def _nearest(scans: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Mean of the five highest correlations of coarse thumbnails, of the scans as they are or mirrored."""
    small = [thumbnails(part, 16).reshape(len(part), -1) for part in (scans, scans[:, :, ::-1], train)]
    correlations = np.corrcoef(np.concatenate(small))
    same, mirrored, known = np.split(np.arange(len(correlations)), np.cumsum([len(scans), len(scans)]))
    best = np.maximum(correlations[np.ix_(same, known)], correlations[np.ix_(mirrored, known)])
    return np.sort(best, axis=1)[:, -5:].mean(axis=1)


def test_pictures_that_are_no_scans_are_measured_too(finished):
    table = OodDistances.read(finished / stages.OOD)
    assert {"photographs", "noise", "upside-down scans"} <= {*table.kind}
    assert table.distance.min() >= 0 and (table.kind == "upside-down scans").sum() == 16


def test_validation_scans_are_classified_in_the_same_way(finished):
    found, splits = Predictions.read(finished / stages.VALIDATION), Splits.read(finished / stages.SPLITS)
    held_out = np.flatnonzero(splits.split == "val")
    assert found.path.tolist() == splits.path[held_out].tolist()
    encoder = Encoder.load(finished / stages.FINETUNED, "cpu")
    scans = torch.from_numpy(np.load(finished / stages.SCANS / "pixels.npy")[held_out])[:, None]
    captions = list(YAML(typ="safe").load(ROOT / "params.yaml")["classes"].values())
    with torch.inference_mode():
        logits = encoder.logits([scans], encoder.encode_classes(captions))
    assert found.probabilities == pytest.approx((logits.double() / TEMPERATURE).softmax(dim=1).numpy(), abs=1e-5)
    assert np.array_equal(found.y_pred, found.probabilities.argmax(axis=1))


def test_other_data_sets_are_scored_at_the_thresholds_of_the_validation_scans(finished):
    (other,) = metrics(finished, "external").sets
    assert (other.kept, other.accuracy, other.accuracy_of_dropped) == (5, 3 / 5, 1)
    points = metrics(finished, "test").tumour.operating_points
    assert [row.threshold for row in other.tumour] == [row.threshold for row in points]
    assert all(row.sensitivity is not None for row in other.tumour)


def test_a_scan_is_exposed_if_a_copy_or_its_patient_was_trained_or_validated_on(finished):
    found = predictions(finished)
    assert found.exposure.tolist() == ["copy", "copy", "patient"] + ["unknown"] * 13
    assert found.leaked.tolist() == ["copy"] + [""] * 15


def test_baselines_are_a_table_of_the_same_scans(finished):
    found, model = BaselinePredictions.read(finished / stages.BASELINES), predictions(finished)
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
    assert nearest.y_pred[0] == 1, "the copy of the first scan is in the second class"


def test_the_metrics_follow_from_the_tables(finished):
    found, test = predictions(finished), metrics(finished, "test")
    accuracy = accuracy_score(found.y_true, found.y_pred)
    assert test.accuracy == pytest.approx(accuracy, abs=1e-9)
    intervals = metrics(finished, "intervals")
    baselines = metrics(finished, "baselines").baselines
    summary = Summary.read(finished / stages.METRICS / "summary.json")
    assert summary.accuracy == round(accuracy, 4)
    assert (summary.copied, summary.patient, summary.best_epoch, summary.val_loss) == (2, 1, 2, 0.9)
    name = "patient, or group of copies where none is known"
    assert intervals.unit == Unit(name=name, count=16, patients=1, scans_without_patient=15)
    assert {row.value for row in test.by if row.column == "mode"} == {"L", "RGB"}
    table = BaselinePredictions.read(finished / stages.BASELINES)
    for row in baselines:
        own = table.take(table.baseline == row.baseline)
        assert row.accuracy == pytest.approx(accuracy_score(own.y_true, own.y_pred), abs=1e-9)
        expected = f1_score(own.y_true, own.y_pred, average="macro", labels=range(4))
        assert row.macro_f1 == pytest.approx(expected, abs=1e-9)
    for name in CLASSES:
        row = next(row for row in test.classes if row.class_name == name)
        assert row.recall == intervals.find("recall", name).value


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


def test_the_summary_is_the_one_metric_of_dvc_and_its_changes_fit_on_a_screen(project, finished):
    shutil.copytree(finished / stages.METRICS, project.root / stages.METRICS)
    path = project.root / stages.METRICS / "summary.json"
    project.run("git add -f metrics && git commit -qm run", check=True)
    Summary.read(path).model_copy(update={"accuracy": 0.1234, "copied": 1311, "ahead": -0.1234}).write(path)
    listed = json.loads(project.run("dvc metrics show --json", check=True).stdout)[""]["data"]
    assert list(listed) == ["metrics/summary.json"]
    changes = project.run("dvc metrics diff --all", check=True).stdout
    assert "recall.glioma" in changes and "0.1234" in changes
    assert len(changes.splitlines()) <= 17 and max(map(len, changes.splitlines())) <= 80, changes
