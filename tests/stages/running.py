"""Stages as processes of their own, and what they say when they fail."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(stage: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run a stage as DVC does, in a folder that holds params.yaml and data."""
    env = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, "-m", f"stages.{stage}"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def assert_one_error(done: subprocess.CompletedProcess, *words: str) -> None:
    """`dvc repro` failed with one line of ours that holds all `words`, and without a traceback."""
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert done.returncode != 0 and len(errors) == 1, done.stdout
    assert "Traceback" not in done.stdout
    assert all(word in errors[0] for word in words), errors[0]
