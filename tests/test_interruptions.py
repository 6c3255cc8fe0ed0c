"""A run of the real DVC that is killed, goes on where it was, however it was started; runs side by side get along."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.waiting import living, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died"),
]
RESULTS = ("models/finetuned/model.safetensors", "metrics/train.json")


@pytest.fixture(scope="module")
def prepared(make_project, finished_project):
    """A project in which only a training is to be done, which saves its state after every step."""
    project = make_project(like=finished_project)
    project.set("train.epochs", 8)
    project.set("machine.save_interval", 0)
    project.run("git commit -q -a -m prepared", check=True)
    return project


@pytest.fixture(scope="module")
def expected(prepared, make_project) -> dict[str, str]:
    whole = make_project(like=prepared)
    whole.run("dvc repro train", check=True)
    return digests(whole.root)


def digests(root: Path) -> dict[str, str]:
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in RESULTS}


def states(project) -> set[str]:
    return {path.name for path in (project.root / ".cache/training").glob("*/step-*.pt")}


def trainings(project) -> list[psutil.Process]:
    """The processes that train, in the project or in a copy that DVC made of it."""
    found = []
    for process in living(project.root):
        with contextlib.suppress(psutil.Error):
            found += [process] * ("stages.train" in process.cmdline())
    return found


def killed(project, command: str) -> None:
    """Start DVC, and kill it alone, in the midst of training."""
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process = subprocess.Popen(command.split(), cwd=project.root, env=project.env, **quiet)
    wait_for(lambda: states(project), "a state")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not trainings(project), "the end of the training")


@pytest.mark.parametrize("command", ["repro", "exp run --temp -n again"])
def test_a_training_goes_on_after_a_kill_however_it_is_started(prepared, expected, make_project, command):
    project = make_project(like=prepared)
    command = f"dvc {command} train"
    if "repro" in command:
        project.env["SHELL"] = "/bin/sh"  # which, unlike bash, may stay between DVC and the stage
    killed(project, command)
    assert "train: goes on after step" in project.run(command, check=True).stdout
    if "--temp" in command:
        project.run("dvc exp apply again", check=True)
    assert digests(project.root) == expected
    assert not states(project)


def test_runs_side_by_side_do_not_step_on_each_other(prepared, expected, make_project):
    project = make_project(like=prepared)
    project.run("dvc exp run --queue -S train.learning_rate=1e-3,2e-3 train", check=True)
    # The same training twice: whoever comes second keeps no state.
    project.run("dvc exp run --queue -S machine.workers=1 train", check=True)
    project.run("dvc queue start -j 2 >workers.log 2>&1", check=True)  # they would keep a pipe open
    status = ""
    while status.count("Success") < 3 and "Failed" not in status:
        status = project.run("sleep 2; dvc queue status", check=True).stdout
    failed = "dvc queue logs $(dvc queue status | awk '/Failed/ {print $1}')"
    assert status.count("Success") == 3, status + project.run(failed).stdout
    assert project.run("git status --porcelain --untracked-files=no", check=True).stdout == ""
    names = [line.split()[1] for line in status.splitlines() if "Success" in line]
    losses = {}
    for name in names:
        project.run("git checkout -q .", check=True)
        project.run(f"dvc exp apply {name}", check=True)
        losses[name] = digests(project.root)
    assert list(losses.values()).count(expected) == 2
    assert len({value["metrics/train.json"] for value in losses.values()}) == 2
    assert not states(project)
