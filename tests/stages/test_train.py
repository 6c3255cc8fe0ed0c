"""What training may look at: the training and validation scans, and nothing of the test."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages import FINETUNED, METRICS, PLOTS, SPLITS, checkpoint
from stages import train as stage
from tests.stages.running import run
from tests.stages.trainings import CLASSES, copied, digests, set_params, train
from trueslice import params
from trueslice.errors import UserError
from trueslice.files import read_json
from trueslice.tables.splits import Splits
from trueslice.tables.steps import Steps


@pytest.fixture(scope="module")
def folder(untrained: Path, tmp_path_factory) -> Path:
    """A folder with all that the train stage reads and writes."""
    folder = copied(untrained, tmp_path_factory.mktemp("train"))
    set_params(folder, "train", epochs=2)
    train(folder)
    return folder


@pytest.fixture
def again(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "again"))


def test_captions_that_the_text_tower_cuts_end_both_stages_that_have_it(folder: Path, again: Path, monkeypatch):
    set_params(again, "classes", glioma=[("long " * 40).strip()])
    monkeypatch.chdir(again)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for each in (checkpoint, stage):
        with pytest.raises(UserError, match="a caption of glioma has 162 tokens, of which this checkpoint reads 128"):
            each.main(params.load(Path("params.yaml")))
    assert digests(again) == digests(folder)


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


@pytest.mark.slow
def test_a_small_model_is_the_same_whatever_instructions_and_threads_there_are(again: Path):
    made = []
    for machine in (
        {},
        {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"},
        {"MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41", "OMP_NUM_THREADS": "5"},
    ):
        done = run("train", again, **machine)
        assert done.returncode == 0, done.stderr
        made.append(digests(again))
    assert made[0] == made[1] == made[2]
