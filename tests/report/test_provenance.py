"""What a report says of the commit at which it was drawn, in a real Git repository."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.report.example_run import TIMING
from trueslice.report.provenance import Drawing


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path):
    """A repository whose project lies in a folder of it."""
    folder = tmp_path / "project"
    (folder / "metrics").mkdir(parents=True)
    (folder / "params.yaml").write_text("seed: 0\ntrain:\n  epochs: 14  # passes\n  rate: 1e-3\n")
    (folder / "metrics/test.json").write_text("{}")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "first")
    return folder


def test_a_clean_checkout_has_its_commit_and_no_change(repository):
    drawing = Drawing.now(repository, TIMING)
    assert drawing.commit == git(repository, "rev-parse", "HEAD").strip()
    assert (drawing.files, drawing.settings, drawing.training) == ((), (), TIMING)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", drawing.time)


def test_changed_settings_are_named_with_both_values_and_comments_are_not_settings(repository):
    (repository / "params.yaml").write_text("seed: 0  # of all\ntrain:\n  epochs: 3\n  rate: 0.001\n  ema: 0.9\n")
    drawing = Drawing.now(repository, TIMING)
    assert drawing.settings == (("train.ema", "–", "0.9"), ("train.epochs", "14", "3"))
    assert drawing.files == ("project/params.yaml",)


def test_what_a_run_writes_is_not_a_change_on_top_of_a_commit(repository):
    (repository / "metrics/test.json").write_text("[]")
    (repository / "dvc.lock").write_text("")
    assert Drawing.now(repository, TIMING).files == ()
    (repository / "new.py").write_text("")
    assert Drawing.now(repository, TIMING).files == ("project/new.py",)


def test_without_a_repository_or_a_commit_there_is_no_commit(tmp_path):
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    assert Drawing.now(tmp_path, TIMING).commit is None
    git(tmp_path, "init", "-q")
    assert Drawing.now(tmp_path, TIMING).commit is None


def test_without_git_there_is_no_commit(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert Drawing.now(repository, TIMING).commit is None
