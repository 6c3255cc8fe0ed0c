"""The train stage with machine.launcher: several processes that behave as one."""

import json
import os
import random
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from stages import METRICS
from tests.stages.trainings import (
    digests,
    environment,
    finished,
    interrupted,
    set_params,
    started,
    states,
    steps_gone,
)
from tests.waiting import living, wait_for

TWO = "torchrun --standalone --nproc-per-node 2"


@pytest.fixture
def launched(training, monkeypatch):
    """A folder to train in with two processes."""
    monkeypatch.setenv("PATH", os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
    set_params(training, "train", epochs=3, learning_rate=1e-4)
    set_params(training, "machine", launcher=TWO)
    return training


@pytest.fixture
def port(monkeypatch) -> int:
    monkeypatch.setenv("HEAD_NODE", "localhost")
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def errors(done) -> list[str]:
    """The lines in which the stage itself says why it ended: the last ones, behind those of the launcher."""
    return [line for line in done.stderr.splitlines() if line.startswith("error:")]


@pytest.mark.slow
def test_two_processes_make_what_one_makes_and_write_it_once(launched):
    done = finished(launched)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("train: 128 scans, 3 epochs") == 1
    assert not states(launched)
    two = json.loads((launched / METRICS / "train.json").read_text())
    set_params(launched, "machine", launcher="")
    assert finished(launched).returncode == 0
    one = json.loads((launched / METRICS / "train.json").read_text())
    assert two["best_epoch"] == one["best_epoch"]
    for epoch, other in zip(two["epochs"], one["epochs"], strict=True):
        assert epoch == pytest.approx(other, rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_two_machines_that_share_a_folder_train_together(launched, port):
    # A second torchrun stands for the second machine; they find each other as the README says.
    torchrun = "torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint"
    set_params(launched, "machine", launcher=f"{torchrun} $HEAD_NODE:{port}")
    command = [*torchrun.split(), f"localhost:{port}", "-m", "stages.train"]
    with subprocess.Popen(command, cwd=launched, env=environment(), stdout=subprocess.PIPE, text=True) as other:
        done = finished(launched)
        told, _ = other.communicate(timeout=60)
    assert done.returncode == other.returncode == 0, done.stderr
    assert (done.stdout + told).count("train: 128 scans, 3 epochs") == 1
    assert (launched / METRICS / "train.json").exists() and not states(launched)


@pytest.mark.slow
def test_after_a_kill_they_go_on_together_and_end_with_the_same_bytes(launched, tmp_path):
    done = interrupted(launched, signal.SIGKILL, random.Random(0))
    assert done.returncode == -signal.SIGKILL
    wait_for(lambda: not living(launched), "the end of all processes", 30)
    done = finished(launched)
    assert done.returncode == 0, done.stderr
    assert steps_gone(done) > 0
    gone_on = digests(launched)
    assert finished(launched).returncode == 0
    assert digests(launched) == gone_on


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others(launched):
    set_params(launched, "train", epochs=500)
    stage = started(launched)
    wait_for(lambda: states(launched), "a state")
    second = [
        process
        for process in psutil.Process(stage.pid).children(recursive=True)
        if process.environ().get("RANK") == "1"
    ]
    assert len(second) == 1
    second[0].kill()
    _, said = stage.communicate(timeout=60)
    assert stage.returncode == 1
    last = said.strip().splitlines()[-1]
    assert last.startswith("error: what machine.launcher started ended with status 1")
    assert not living(launched)


@pytest.mark.slow
def test_what_one_process_finds_wrong_is_the_last_line(launched):
    set_params(launched, "train", batch_size=2, accumulation=2)
    done = finished(launched)
    assert done.returncode == 1
    said = "machine.launcher starts 2 processes, but train.batch_size and"
    assert said in done.stderr.strip().splitlines()[-1]
    assert errors(done)[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("launcher", "said"),
    [
        ("torchrum --standalone", "machine.launcher starts 'torchrum', which is not a program on the path"),
        ("torchrun 'two", 'machine.launcher is "torchrun \'two", which is not a command'),
        (
            "true",
            "machine.launcher is 'true', which ended well but did not run stages.train: no process wrote metrics/t",
        ),
        ("false", "what machine.launcher started ended with status 1; see above"),
    ],
)
def test_a_launcher_that_starts_nothing_is_named(training, launcher, said):
    set_params(training, "machine", launcher=launcher)
    done = finished(training)
    assert done.returncode == (1 if launcher == "false" else 2)
    assert len(errors(done)) == 1 and said in errors(done)[0]
    assert "Traceback" not in done.stderr
