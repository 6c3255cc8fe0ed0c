"""What training may look at: the training and validation scans, and nothing of the test."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages import FINETUNED, METRICS, PLOTS, PRETRAINED, SCANS, SPLITS
from tests.scan_tables import split_table
from tests.stages.running import ROOT, run
from tests.stages.trainings import digests
from trueslice.checkpoints import drawn as builtin
from trueslice.files import read_json, write_json
from trueslice.tables.splits import Splits
from trueslice.tables.steps import Steps

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
    rows = np.arange(48)
    split_table(np.array(CLASSES)[rows // 12], np.array(SPLIT_OF)[rows % 12]).write(folder / SPLITS)
    builtin.build(folder / PRETRAINED, seed=0)
    write_json(folder / PRETRAINED / "checkpoint.json", {"name": "tiny", "revision": None})
    train(folder)
    return folder


def train(folder: Path, **variables: str) -> None:
    done = run("train", folder, **variables)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def again(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "again"))


def test_captions_that_the_text_tower_cuts_end_both_stages_that_have_it_before_any_training(folder: Path, again: Path):
    text = (again / "params.yaml").read_text()
    (again / "params.yaml").write_text(text.replace("- a brain MRI scan showing a glioma", f"- {'long ' * 40}"))
    before = digests(folder)
    for stage in ("checkpoint", "train"):
        done = run(stage, again)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "error: a caption of glioma has 162 tokens, of which this checkpoint reads 128; shorten" in done.stderr
    assert digests(again) == before


@pytest.mark.slow
def test_shuffled_test_labels_change_no_byte_of_the_model_or_its_metrics(folder: Path, again: Path):
    splits = Splits.read(again / SPLITS)
    test = splits.split == "test"
    labels = splits.class_name.copy()
    labels[test] = np.random.default_rng(0).permutation(labels[test])
    assert (labels != splits.class_name).any()
    replace(splits, class_name=labels, group=np.where(test, 0, splits.group), leaked=np.where(test, "copy", "")).write(
        again / SPLITS
    )
    train(again)
    assert len(digests(folder)) > 5
    assert digests(again) == digests(folder)


@pytest.mark.slow
def test_one_changed_training_label_changes_the_model(folder: Path, again: Path):
    splits = Splits.read(again / SPLITS)
    labels = splits.class_name.copy()
    labels[np.flatnonzero(splits.split == "train")[0]] = "pituitary"
    replace(splits, class_name=labels).write(again / SPLITS)
    train(again)
    assert digests(again)["model.safetensors"] != digests(folder)["model.safetensors"]
    assert described(again)["splits_sha256"] != described(folder)["splits_sha256"]


def described(folder: Path) -> dict:
    return read_json(folder / FINETUNED / "trueslice.json")


def test_the_tuned_folder_says_what_it_is_made_of(folder: Path):
    told = described(folder)
    assert told["checkpoint"] == {"name": "tiny", "revision": None}
    assert list(told["classes"]) == list(CLASSES) and told["train"]["epochs"] == 2
    assert told["temperature"] == read_json(folder / METRICS / "train.json")["temperature"]
    splits = Splits.read(folder / SPLITS)
    rows = splits.take(splits.split != "test").text()
    assert told["splits_sha256"] == hashlib.sha256(rows.encode()).hexdigest()
    assert set(told["versions"]) == {"torch", "transformers", "numpy"}


def test_the_loss_of_every_step_is_written_with_its_running_mean(folder: Path):
    steps = Steps.read(folder / PLOTS / "steps.csv")
    train = read_json(folder / METRICS / "train.json")
    assert steps.step.tolist() == list(range(1, train["steps"] + 1))
    assert (steps.loss > 0).all() and (steps.learning_rate <= 1e-3).all()
    np.testing.assert_allclose(steps.mean_loss, steps.loss)  # of so few steps each is its own mean
    assert read_json(folder / METRICS / "timing.json")["train"][0]["images_per_second"] > 0


@pytest.mark.parametrize(
    "machine",
    [
        {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"},
        pytest.param(
            {"MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41", "OMP_NUM_THREADS": "5"}, marks=pytest.mark.slow
        ),
    ],
)
def test_a_small_model_is_the_same_whatever_instructions_and_threads_there_are(folder: Path, again: Path, machine):
    train(again, **machine)
    assert digests(again) == digests(folder)
