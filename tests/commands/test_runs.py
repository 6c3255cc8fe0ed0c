"""The list of runs, on a small pipeline under the real DVC and Git."""

import shutil

import pytest

from tests.commands.runs import trueslice

SCORE = """
import json, sys
from pathlib import Path
value = float(Path("data/seen").read_text())
summary = {"accuracy": value, "low": value - 0.1, "high": value + 0.05, "baseline": 0.7, "recall": {"glioma": 0.5}}
Path("metrics").mkdir(exist_ok=True)
Path("metrics/summary.json").write_text(json.dumps(summary))
"""
PIPELINE = """
stages:
  train:
    cmd: mkdir -p data && test ${skill} != -1 && echo ${skill} >data/model
    params: [skill, seed]
    outs: [data/model]
  predict: {cmd: cp data/model data/seen, deps: [data/model], outs: [data/seen]}
  evaluate:
    cmd: python score.py
    deps: [data/seen]
    metrics: [metrics/summary.json: {cache: false}]
"""


@pytest.fixture(scope="module")
def project(make_project):
    """A project with a committed run, experiments of it and of an older commit, and a queue."""
    project = make_project()
    (project.root / "score.py").write_text(SCORE)
    (project.root / "dvc.yaml").write_text(PIPELINE)
    (project.root / "params.yaml").write_text("skill: 0.8\nseed: 0\n")
    (project.root / ".gitignore").write_text("/data\n")
    project.run("dvc repro && git add -A && git commit -q -m run", check=True)
    project.run("dvc exp run -q -n older -S skill=0.85 && git checkout -q . && dvc checkout -q", check=True)
    project.run("git commit -q --allow-empty -m later && dvc exp run -q -n early -S skill=0.1 train", check=True)
    project.run("git checkout -q . && dvc checkout -q", check=True)
    project.run("dvc exp run -q --queue -n sweep -S 'skill=0.91234,-1' -S seed=3", check=True)
    return project


def rows(said: str) -> dict[str, list[str]]:
    """The words of each run after its name, with those of the line below it."""
    heading, *lines = said.splitlines()
    assert heading.split() == ["run", "state", "accuracy", "95", "%", "interval", "baseline"]
    joined = "\n".join(lines).replace("\n  ", "  ").splitlines()
    return {name: words for name, *words in map(str.split, joined)}


def test_all_experiments_are_listed_with_their_own_scores_and_what_differs(project):
    assert rows(trueslice(project, "runs")) == {
        "HEAD": ["finished", "80.0", "70.0", "to", "85.0", "70.0"],
        "early": ["finished", "-", "-", "-", "skill=0.1"],
        "older": ["finished", "85.0", "75.0", "to", "90.0", "70.0", "skill=0.85"],
        "sweep-1": ["queued", "-", "-", "-", "seed=3", "skill=0.91234"],
        "sweep-2": ["queued", "-", "-", "-", "seed=3", "skill=-1"],
    }


def test_a_run_that_nobody_has_saved_is_listed_as_the_workspace(project, make_project):
    project = make_project(like=project)
    project.run("sed -i s/0.8/0.6/ params.yaml && dvc repro", check=True)
    words = rows(trueslice(project, "runs"))["workspace"]
    assert words == ["finished", "60.0", "50.0", "to", "65.0", "70.0", "skill=0.6"]


def test_parameters_that_have_not_run_have_no_scores(project, make_project):
    project = make_project(like=project)
    project.run("sed -i s/0.8/0.6/ params.yaml", check=True)
    assert rows(trueslice(project, "runs"))["workspace"] == ["changed", "-", "-", "-", "skill=0.6"]
    project.run("git commit -q -a -m 'My parameters'", check=True)
    assert rows(trueslice(project, "runs"))["HEAD"] == ["changed", "-", "-", "-"]


def test_without_git_there_is_one_line(project, make_project):
    project = make_project(like=project)
    shutil.rmtree(project.root / ".git")
    project.run("dvc config --local core.no_scm true", check=True)
    said = trueslice(project, "runs", status=1)
    assert said == "error: workspace: without Git there is only `workspace`, the files as they are now\n"


@pytest.mark.slow
def test_a_queue_leaves_finished_and_failed_experiments(project):  # the last one: a queue cannot be copied
    project.run("dvc queue start -q -j 1 >worker.log 2>&1", check=True)
    for _ in range(25):
        status = project.run("sleep 2; dvc queue status").stdout  # it may fail while an experiment is being saved
        if "Success" in status and "Failed" in status:
            break
    found = rows(trueslice(project, "runs"))
    assert found["sweep-1"][:2] == ["finished", "91.2"]
    assert found["sweep-2"][:2] == ["failed", "-"]
