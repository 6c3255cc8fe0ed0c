"""The model as a DVC artifact, under the real DVC: a colleague gets it by name and by version, from elsewhere."""

import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from trueslice.files import read_json

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared(make_project, finished_project):
    """A project whose pipeline has run, pushed to a remote, committed, and tagged as version 1.0.0 of the model."""
    project = make_project(like=finished_project)
    remote = project.root.parent / "remote"
    project.run(f"dvc remote add --default storage {remote} && dvc push", check=True)
    project.run("git commit -q -a -m storage", check=True)
    project.run("gto register trueslice --version v1.0.0", check=True)
    return project


@pytest.fixture
def get(shared, tmp_path):
    """Runs a command of a colleague, who has none of the project's cache; REPOSITORY is the project's address."""

    def run(command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command.replace("REPOSITORY", f"file://{shared.root}"),
            shell=True,
            cwd=tmp_path,
            env=shared.env | {"HOME": str(tmp_path / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "command",
    [
        "dvc artifacts get REPOSITORY trueslice -o model",
        "dvc artifacts get REPOSITORY trueslice --rev v1.0.0 -o model",
        "dvc get REPOSITORY models/released -o model",
        "git clone -q REPOSITORY clone && cd clone && dvc pull -q models/released && mv models/released ../model",
    ],
)
def test_a_colleague_gets_the_whole_model(shared, get, tmp_path, command):
    done = get(command)
    assert done.returncode == 0, done.stdout
    assert contents(tmp_path / "model") == contents(shared.root / "models/released")
    assert {"README.md", "trueslice.json", "reference.npz", "model.safetensors"} <= contents(tmp_path / "model").keys()


def test_the_artifact_says_what_it_is_and_stands_in_the_registry(shared):
    with Repo(str(shared.root)) as repo:
        artifact = repo.artifacts.read()["dvc.yaml"]["trueslice"]
    assert (artifact.type, artifact.path) == ("model", "models/released")
    assert "not for clinical use" in artifact.desc and "brain-mri" in artifact.labels
    assert "v1.0.0" in shared.run("gto show trueslice", check=True).stdout


def test_the_card_in_it_is_about_this_run(shared):
    card = (shared.root / "models/released/README.md").read_text()
    accuracy = read_json(shared.root / "metrics/test.json")["accuracy"]
    assert f"It is right on {100 * accuracy:.1f} %" in card and "of 80 test scans." in card


def test_a_version_that_was_never_registered_is_named(get):
    done = get("dvc artifacts get REPOSITORY trueslice --rev v9.0.0 -o model")
    assert done.returncode != 0 and "v9.0.0" in done.stdout
