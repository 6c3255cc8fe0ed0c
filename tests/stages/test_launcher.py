"""The train stage with machine.launcher: several processes that behave as one."""

import random
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from stages import METRICS
from tests.stages.trainings import (
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
from tests.waiting import living, wait_for
from trueslice.errors import ParamsError, UserError
from trueslice.files import read_json
from trueslice.train.launcher import run

TWO = "torchrun --standalone --nproc-per-node 2"


def launch(folder: Path) -> Path:
    """Have two processes train in the folder."""
    set_params(folder, "train", epochs=3, learning_rate=1e-4)
    set_params(folder, "machine", launcher=TWO)
    return folder


@pytest.fixture
def launched(training) -> Path:
    return launch(training)


@pytest.fixture(scope="module")
def together(untrained, tmp_path_factory) -> Path:
    """A folder in which two processes have trained."""
    folder = launch(copied(untrained, tmp_path_factory.mktemp("together")))
    done = finished(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("train: 128 scans, 3 epochs") == 1
    assert not states(folder)
    return folder


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
def test_two_processes_make_what_one_makes_and_write_it_once(together, launched):
    set_params(launched, "machine", launcher="")
    assert finished(launched).returncode == 0
    one, two = (read_json(folder / METRICS / "train.json") for folder in (launched, together))
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
        told, _ = other.communicate()
    assert done.returncode == other.returncode == 0, done.stderr
    assert (done.stdout + told).count("train: 128 scans, 3 epochs") == 1
    assert (launched / METRICS / "train.json").exists() and not states(launched)


@pytest.mark.slow
def test_after_a_kill_they_go_on_together_and_end_with_the_same_bytes(together, launched):
    done = interrupted(launched, signal.SIGKILL, random.Random(0))
    assert done.returncode == -signal.SIGKILL
    wait_for(lambda: not living(launched), "the end of all processes")
    done = finished(launched)
    assert done.returncode == 0, done.stderr
    assert steps_gone(done) > 0
    assert digests(launched) == digests(together)


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
    _, said = stage.communicate()
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
    ("launcher", "error", "said"),
    [
        ("torchrum --standalone", ParamsError, "starts 'torchrum', which is not a program on the path"),
        ("torchrun 'two", ParamsError, 'is "torchrun \'two", which is not a command'),
        ("true", ParamsError, "is 'true', which ended well but did not run stages.train: no process wrote train.json"),
        ("false", UserError, "what machine.launcher started ended with status 1; see above"),
    ],
)
def test_a_launcher_that_starts_nothing_is_named(tmp_path, launcher, error, said):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(error) as caught:
        run(launcher, "stages.train", tmp_path / "train.json")
    signal.signal(signal.SIGTERM, before)
    assert type(caught.value) is error and said in str(caught.value).replace(f"{tmp_path}/", "")
    assert "\n" not in str(caught.value)
