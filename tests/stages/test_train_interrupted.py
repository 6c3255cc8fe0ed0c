"""The train stage, ended from outside at any moment and in any way, goes on and comes to the same end."""

import random
import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from stages import FINETUNED, METRICS, PLOTS, SPLITS
from tests.stages.trainings import (
    ROOT,
    copied,
    digests,
    environment,
    finished,
    interrupted,
    set_params,
    started,
    states,
    steps_gone,
)
from tests.waiting import wait_for
from trueslice.records.train import Training
from trueslice.tables.steps import Steps


@pytest.mark.slow
@pytest.mark.parametrize(("tune", "times"), [("full", 3), ("lora", 1), ("projection", 1), ("blocks", 1)])
def test_killed_many_times_it_ends_with_the_same_bytes(untrained, training, tmp_path, tune, times):
    settings = {"tune": tune, "ema": 0.9, "wise_ft": True, "captions": "random", "balance": "sampler"}
    whole = copied(untrained, tmp_path / "whole")
    for each in (whole, training):
        set_params(each, "train", **settings)
    assert finished(whole).returncode == 0
    draw = random.Random(tune)
    for _ in range(times):
        how = draw.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        done = interrupted(training, how, draw)
        assert "Traceback" not in done.stderr
        if done.returncode == 0:
            break
        if not states(training):  # hit at the very end, with nothing left to do but to exit
            break
        weights = training / FINETUNED / "model.safetensors"
        assert not weights.parent.exists() or weights.read_bytes() == (whole / FINETUNED / weights.name).read_bytes()
    else:
        done = finished(training)
        assert done.returncode == 0, done.stderr
        assert steps_gone(done) > 0
    assert digests(training) == digests(whole)
    assert not states(training)


@pytest.mark.slow
def test_a_stop_by_the_user_is_one_line_and_the_next_run_ends_with_the_same_bytes(trained, training):
    done = interrupted(training, signal.SIGINT, random.Random(0))
    assert done.returncode == 130
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert errors == ["error: stopped by the user; `dvc repro` takes this stage up again"]
    at = max(int(name.split("-")[1]) for name in states(training))
    done = finished(training)
    assert done.returncode == 0, done.stderr
    assert steps_gone(done) == at
    assert digests(training) == trained


@pytest.mark.slow
def test_its_curves_can_be_drawn_while_it_trains_and_are_the_same_in_the_end(trained, training):
    process = started(training)
    curves = training / PLOTS / "steps.csv", training / METRICS / "train.json"
    wait_for(lambda: all(path.exists() for path in curves) or process.poll() is not None, "the curves")
    assert process.poll() is None and not (training / FINETUNED).exists()
    assert len(Steps.read(curves[0])) % 16 == 0 and Training.read(curves[1]).epochs[0].epoch == 1
    assert process.wait(300) == 0
    assert digests(training) == trained


@pytest.fixture(scope="module")
def killed(untrained, tmp_path_factory):
    """A training that was killed, with its states."""
    folder = copied(untrained, tmp_path_factory.mktemp("killed"))
    interrupted(folder, signal.SIGKILL, random.Random(0))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("change", ["params", "labels", "code"])
def test_a_state_that_belongs_to_something_else_is_not_taken_up(killed, tmp_path, change):
    training = copied(killed, tmp_path)
    if change == "params":
        set_params(training, "train", learning_rate=2e-3)
    elif change == "labels":
        text = (training / SPLITS).read_text()
        (training / SPLITS).write_text(text.replace("\n0.png,glioma,", "\n0.png,notumor,"))
        assert (training / SPLITS).read_text() != text
    else:
        for name in ("stages", "trueslice"):  # the working training comes before PYTHONPATH
            shutil.copytree(ROOT / name, training / name)
        with (training / "trueslice/train/losses.py").open("a") as file:
            file.write("\n# another version\n")
    done = finished(training)
    assert done.returncode == 0, done.stderr
    assert steps_gone(done) == 0


@pytest.mark.slow
def test_on_a_full_disk_it_ends_in_one_line_and_goes_on_once_there_is_room(trained, untrained, small_disk):
    training = copied(untrained, small_disk)
    interrupted(training, signal.SIGKILL, random.Random(0))
    before = states(training)
    assert before
    filling = small_disk / "filling"
    with filling.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    done = finished(training)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert (
        len(errors) == 1 and "No space left on device; free some space" in errors[0] and "Traceback" not in done.stderr
    )
    # What was half-written when it was killed may have left room for one more state.
    assert max(states(training)) >= max(before)
    filling.unlink()
    done = finished(training)
    assert done.returncode == 0, done.stderr
    assert steps_gone(done) > 0
    assert digests(training) == trained


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
@pytest.mark.slow
def test_it_ends_when_its_parent_is_killed(training):
    program = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'stages.train'])"
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=training, env=environment())
    wait_for(lambda: states(training), "a state")
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    child.wait(300)  # or psutil.TimeoutExpired
