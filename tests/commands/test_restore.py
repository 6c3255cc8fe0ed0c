"""The way back to a run, on a small pipeline under the real DVC and Git."""

import hashlib
import shutil

import pytest

from tests.commands.runs import trueslice

MODEL = """
import os
from pathlib import Path
from ruamel.yaml import YAML
value = YAML(typ="safe").load(Path("params.yaml"))["value"]
machine = os.environ.get("MACHINE", "")
assert "wrong" not in value
for name in ("data/model", "plots/figures"):
    Path(name).mkdir(parents=True, exist_ok=True)
    Path(name, f"{value}.txt").write_text(f"{value} {machine}")
Path("metrics").mkdir(exist_ok=True)
Path("metrics/score.json").write_text('{"score": "%s %s"}' % (value, machine))
"""
PIPELINE = """
stages:
  model:
    cmd: python model.py
    params: [value]
    deps: [model.py]
    outs: [data/model, plots/figures: {cache: false}]
    metrics: [metrics/score.json: {cache: false}]
  later:
    cmd: cp data/model/* data/later
    deps: [data/model]
    outs: [data/later]
"""


@pytest.fixture(scope="module")
def committed(make_project):
    """A project with one committed run."""
    project = make_project()
    (project.root / "model.py").write_text(MODEL)
    (project.root / "dvc.yaml").write_text(PIPELINE)
    (project.root / "params.yaml").write_text("value: first\n")
    (project.root / ".gitignore").write_text("/data\n__pycache__\n")
    project.run("dvc repro && git add -A && git commit -q -m run", check=True)
    return project


@pytest.fixture
def project(make_project, committed):
    return make_project(like=committed)


def digests(project) -> dict[str, str]:
    files = [path for name in ("data", "metrics", "plots") for path in (project.root / name).rglob("*")]
    files += [project.root / name for name in ("params.yaml", "dvc.lock")]
    found = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}
    assert len(found) > 4
    return found


def restore(project, arguments: str = "", status: int = 0) -> str:
    return trueslice(project, f"restore {arguments}", status)


def test_after_an_experiment_the_committed_run_comes_back_and_the_experiment_on_demand(project):
    first = digests(project)
    project.run("dvc exp run -q -n second -S value=second", check=True)
    second = digests(project)
    assert restore(project) == "HEAD is back: its parameters and results, data and models.\n"
    assert digests(project) == first
    assert project.run("git status --porcelain; git stash list", check=True).stdout == ""
    assert "up to date" in project.run("dvc status", check=True).stdout
    restore(project, "second")
    assert digests(project) == second


def test_a_run_that_is_in_no_commit_or_experiment_is_kept(project):
    project.run("echo value: mine >params.yaml && dvc repro", check=True)
    mine = digests(project)
    assert "is in Git's stash: `git stash pop && dvc checkout`" in restore(project)
    assert (project.root / "data/later").read_text() == "first "
    assert [path.name for path in (project.root / "plots/figures").iterdir()] == ["first.txt"]
    project.run("git stash pop -q && dvc checkout", check=True)
    assert digests(project) == mine


# A value of the same length, which DVC writes within the second, looks unchanged to Git.
@pytest.mark.parametrize("value", ["wrong", "wrong twice"])
def test_after_a_failure_the_committed_run_comes_back(project, value):
    first = digests(project)
    assert project.run(f"dvc exp run -S 'value={value}'").returncode != 0
    assert not (project.root / "metrics/score.json").exists()
    assert "The params.yaml that was here is in Git's stash: `git stash pop`\n" in restore(project)
    assert digests(project) == first
    project.run("git stash pop -q", check=True)
    assert value in (project.root / "params.yaml").read_text()


def test_parameters_edited_by_hand_are_kept(project):
    first = digests(project)
    (project.root / "params.yaml").write_text("value: edited\n")
    assert "is in Git's stash: `git stash pop`" in restore(project)
    assert digests(project) == first
    project.run("git stash pop -q", check=True)
    assert (project.root / "params.yaml").read_text() == "value: edited\n"


def test_files_of_ones_own_among_the_results_are_kept(project):
    mine = {"plots/figures/notes.txt": "mine", "metrics/score.json": "edited"}
    for name, text in mine.items():
        (project.root / name).write_text(text)
    (project.root / "plots/figures/link").symlink_to("nowhere")
    assert "is in Git's stash: `git stash pop && dvc checkout`" in restore(project)
    assert not (project.root / "plots/figures/nowhere").exists()
    project.run("git stash pop -q", check=True)
    assert {name: (project.root / name).read_text() for name in mine} == mine


@pytest.mark.slow
def test_an_experiment_that_ended_early_comes_back_as_far_as_it_went(project):
    project.run("dvc exp run -q -n early -S value=early model", check=True)
    restore(project)
    restore(project, "early")
    assert (project.root / "data/model/early.txt").exists()
    assert (
        "score: early" in project.run("dvc metrics show --md | tr '|' ':'; cat metrics/score.json | tr -d '\"'").stdout
    )


def test_in_a_clone_without_the_committed_model_ones_own_run_is_not_lost(project):
    project.run("git clone -q . ../clone", check=True)
    project.root = project.root.parent / "clone"
    project.run("git config user.name T && git config user.email t@example.org", check=True)
    project.run("dvc repro", {"MACHINE": "mine"}, check=True)
    mine = digests(project)
    assert project.run("git status --porcelain", check=True).stdout != ""
    said = restore(project, status=1)
    assert said.startswith("error: DVC's cache lacks data/model, data/later of HEAD, so nothing was changed; ")
    assert digests(project) == mine
    project.run('git commit -q -a -m "My base run" && dvc exp run -q -S value=third', check=True)
    restore(project)
    assert digests(project) == mine


@pytest.mark.slow
def test_files_that_no_cache_has_are_not_deleted(project):
    project.run("dvc exp run -q -S value=second && echo note >data/model/note.txt", check=True)
    said = restore(project, status=1)
    assert "note.txt; move them away, then: dvc checkout" in said
    assert (project.root / "data/model/note.txt").exists()


@pytest.mark.slow
def test_a_project_in_a_subfolder_of_a_git_repository(project):
    project.run("rm -rf .git && mkdir inner && mv * .dvc .dvcignore .gitignore inner; git init -q", check=False)
    project.run(
        "git config user.name T && git config user.email t@e.org && git add -A && git commit -qm all", check=True
    )
    project.root /= "inner"
    first = digests(project)
    project.run("echo value: mine >params.yaml && dvc repro", check=True)
    assert "is in Git's stash" in restore(project)
    assert digests(project) == first


@pytest.mark.slow
def test_make_repro_says_if_its_numbers_differ_from_the_committed_ones(project):
    project.add_make()
    project.run("echo /.venv >>.gitignore && git add -A && git commit -q -m make", check=True)
    project.env["MACHINE"] = "other"
    advice = "Keep yours as the base: git commit -a -m 'My base run'"
    assert advice not in project.run("make repro", check=True).stdout
    project.run("dvc repro --force", check=True)
    assert advice in project.run("make repro", check=True).stdout
    project.run("git commit -q -a -m 'My base run'", check=True)
    assert advice not in project.run("make repro", check=True).stdout
    project.run("echo value: mine >params.yaml", check=True)
    assert advice not in project.run("make repro", check=True).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("workspace", "error: `workspace` is what is here now; name a commit or an experiment\n"),
        ("nonsense", "error: nonsense: no such revision or experiment; `trueslice runs` names them\n"),
        ("HEAD~1", "error: HEAD~1 has no results of a run; name another commit, or an experiment\n"),
    ],
)
def test_what_is_no_run_is_refused(project, arguments, said):
    assert restore(project, arguments, status=1) == said


@pytest.mark.slow
def test_without_git_there_is_one_line(project):
    shutil.rmtree(project.root / ".git")
    project.run("dvc config --local core.no_scm true", check=True)
    assert restore(project, status=1) == (
        "error: HEAD: without Git there is only `workspace`, the files as they are now\n"
    )
