"""Whoever is killed takes along what it started: pools their workers, DVC its stages with all their processes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.waiting import living, wait_for
from trueslice.errors import UserError
from trueslice.lifetime import pool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found by their folder")
ROOT = Path(__file__).parents[1]
POOL = """
import multiprocessing, sys, time
from concurrent.futures import ProcessPoolExecutor
from trueslice.lifetime import start_worker

def compute(_):
    while True:
        pass

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with ProcessPoolExecutor(3, context, initializer=start_worker) as pool:
        list(pool.map({work}, [600] * 6))
"""
STAGE = """
import time
from pathlib import Path
import stages
{early}
def main(params):
    Path("started").touch()
    time.sleep(600)

if __name__ == "__main__":
    stages.run(main)
"""


@pytest.fixture
def family():
    """Starts a process in a folder, and finds all that lives in the folder; what is left at the end is killed."""
    folders = []

    def start(command: list[str], folder: Path, env: dict[str, str]) -> subprocess.Popen:
        folders.append(folder)
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=folder, env=env, **quiet)

    yield start
    for folder in folders:
        for process in living(folder):
            process.kill()


def is_importing(stage: psutil.Process) -> bool:
    return any("/numpy/" in file.path for file in stage.memory_maps())


def has_workers(stage: psutil.Process) -> bool:
    return bool(stage.children())


def stages(folder: Path, name: str) -> list[psutil.Process]:
    """The process that runs a stage, if it is there."""
    found = []
    for process in living(folder):
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[1:3] == ["-m", f"stages.{name}"]:
                found.append(process)
    return found


def kill(process: subprocess.Popen, how: signal.Signals, folder: Path) -> None:
    """Kill one process alone, and see the others in its folder end too."""
    assert process.poll() is None
    process.send_signal(how)
    process.wait()
    wait_for(lambda: not living(folder), "the end of all others")


@pytest.mark.parametrize(
    ("method", "work", "count"),  # of workers that have started
    [
        *(("fork", "time.sleep", 1), ("fork", "compute", 3), ("spawn", "compute", 1), ("spawn", "time.sleep", 3)),
        *(("forkserver", "time.sleep", 3), ("forkserver", "compute", 1)),
    ],
)
def test_the_workers_of_a_pool_end_with_it(family, tmp_path, method, work, count):
    (tmp_path / "pool.py").write_text(POOL.format(work=work))
    process = family([sys.executable, "pool.py", method], tmp_path, os.environ | {"PYTHONPATH": str(ROOT)})
    wait_for(lambda: len(living(tmp_path)) > count, "the workers")
    if count == 3:
        time.sleep(1)
    kill(process, signal.SIGKILL, tmp_path)


def test_a_worker_that_is_killed_is_told_in_one_line():
    with pytest.raises(UserError, match="processes that share the work was killed"), pool(1) as processes:
        processes.submit(signal.raise_signal, signal.SIGKILL).result()


@pytest.fixture(scope="module")
def bare(make_project):
    """A project whose only stage does as a test says."""
    project = make_project()
    (project.root / "dvc.yaml").write_text("stages: {some: {cmd: python -m stages.some}}\n")
    return project


# bash makes way for the stage, sh may stay between DVC and the stage.
@pytest.mark.parametrize(
    ("shell", "early"),
    [("/bin/sh", ""), ("/bin/bash", "Path('started').touch(); time.sleep(600)")],
    ids=["at_work", "importing"],
)
def test_a_stage_ends_with_dvc(family, bare, shell, early):
    (bare.root / "stages/some.py").write_text(STAGE.format(early=early))
    (bare.root / "started").unlink(missing_ok=True)
    process = family(["dvc", "repro"], bare.root, bare.env | {"SHELL": shell})
    wait_for(lambda: (bare.root / "started").exists(), "the stage")
    kill(process, signal.SIGKILL, bare.root)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "moment", "how"),
    [
        ("download", has_workers, signal.SIGKILL),
        ("verify", has_workers, signal.SIGTERM),
        ("baselines", is_importing, signal.SIGKILL),
    ],
)
def test_the_stages_of_the_pipeline_end_with_dvc(family, finished_project, make_project, name, moment, how):
    project = make_project(like=finished_project)
    # So many scans that no stage ends by itself soon.
    if name == "verify":
        scans = sorted((project.root / "data/raw/Training").glob("*/*"))
        for copy in range(60):
            for scan in scans:
                (scan.parent / f"{copy}_{scan.name}").write_bytes(scan.read_bytes())
    else:
        project.set("data.phantom.train_per_class", 4000)
    process = family(["dvc", "repro", "--single-item", "--force", name], project.root, project.env)
    wait_for(lambda: any(map(moment, stages(project.root, name))), f"the stage {name}")
    kill(process, how, project.root)


@pytest.mark.slow
def test_the_next_run_of_a_killed_stage_deletes_what_it_left(family, make_project):
    project = make_project()
    process = family(["dvc", "repro", "download"], project.root, project.env)
    wait_for(lambda: list((project.root / "data").glob(".raw.partial-*/new/Training/glioma/*")), "the first scan")
    kill(process, signal.SIGKILL, project.root)
    assert list((project.root / "data").glob(".raw.partial-*"))
    project.set("data.phantom.train_per_class", 2)
    project.set("data.phantom.test_per_class", 2)
    project.run("dvc repro download", check=True)
    assert not list((project.root / "data").glob(".raw.partial-*"))
