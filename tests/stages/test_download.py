"""The download stage through `dvc repro`, with the official Kaggle client against a loopback server."""

import io
import zipfile
from pathlib import Path

import pytest

from tests.servers.kaggle import Kaggle
from tests.servers.loopback import Answer
from tests.stages.running import assert_one_error

DATASET = "somebody/brain-scans"
PAGE = f"https://www.kaggle.com/datasets/{DATASET}"
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
SCANS = {f"{split}/{name}/{n}.jpg" for split in ("Training", "Testing") for name in CLASSES for n in range(3)}


def pack(extra: dict[str, bytes] | None = None) -> bytes:
    """An archive of stored members, 24 scans of 8 kB each, with `extra` ones in front."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
        for name in sorted(SCANS):
            archive.writestr(name, name.encode() * 300)
    return buffer.getvalue()


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def with_older_scans(make_project):
    """A project that has run before, with other scans from a folder."""
    project = make_project()
    for name in ("glioma", "notumor"):
        (project.root / "older" / name).mkdir(parents=True)
        (project.root / "older" / name / "scan.jpg").write_bytes(name.encode())
    project.set("data.source", "older")
    project.run("dvc repro download && git add -A && git commit -q -m older", check=True)
    return project


@pytest.fixture
def project(with_older_scans, make_project):
    project = make_project(like=with_older_scans)
    project.set("data.source", "kaggle")
    project.set("data.kaggle.dataset", DATASET)
    return project


@pytest.fixture
def kaggle():
    with Kaggle({(DATASET, 1): pack(), (DATASET, 2): pack({"Training/glioma/new.jpg": b"new"})}).running() as server:
        yield server


def repro(project, kaggle, **env):
    return project.run("dvc repro download", env=kaggle.env(project.root.parent) | env)


def assert_it_arrived(project, done):
    assert done.returncode == 0, done.stdout
    assert set(tree(project.root / "data/raw")) == SCANS
    assert all(content == name.encode() * 300 for name, content in tree(project.root / "data/raw").items())
    assert f"download: {len(SCANS)} files, " in done.stdout


def assert_it_failed(project, done, *words):
    """One line of ours with all `words`, no traceback, nothing half done, and the older scans are still to be had."""
    assert_one_error(done, *words)
    assert not list((project.root / "data").glob("*raw*")), "half-written scans are left"
    project.run("dvc checkout data/raw", check=True)
    assert set(tree(project.root / "data/raw")) == {"glioma/scan.jpg", "notumor/scan.jpg"}


def test_a_public_data_set_comes_without_credentials_and_only_once(project, kaggle):
    done = repro(project, kaggle)
    assert_it_arrived(project, done)
    assert not any("authorization" in request.headers for request in kaggle.requests)
    project.run("git checkout -q dvc.lock && dvc checkout -q data/raw", check=True)
    seen = len(kaggle.requests)
    # Another value in the same section runs the stage again, now from the archive that was kept.
    project.set("data.phantom.seed", 1)
    assert_it_arrived(project, repro(project, kaggle))
    assert len(kaggle.requests) == seen


def test_forbidden(project, kaggle):
    kaggle.faults["sign"] = [Answer(403, b"{}")]
    assert_it_failed(project, repro(project, kaggle), "(403)", PAGE, "accept its terms", "KAGGLE_API_TOKEN")


@pytest.mark.slow
def test_no_network(project, kaggle):
    # Nothing listens at the discard port.
    nowhere = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    assert_it_failed(project, repro(project, kaggle, **nowhere), "cannot be reached", PAGE, "data.source")
    assert_it_arrived(project, repro(project, kaggle))
    project.run("git checkout -q dvc.lock && dvc checkout -q data/raw", check=True)
    project.set("data.phantom.seed", 1)
    assert_it_arrived(project, repro(project, kaggle, **nowhere))


def test_a_folder_is_found_from_the_root_of_the_repository_also_in_a_temporary_experiment(project, tmp_path):
    with zipfile.ZipFile(project.root / "packed.zip", "w") as archive:
        archive.writestr("wrapper/glioma/1.jpg", b"1")
        archive.writestr("wrapper/notumor/1.jpg", b"2")
    project.run("echo packed.zip >> .git/info/exclude", check=True)
    done = project.run("dvc exp run --temp -n packed -S data.source=packed.zip download")
    assert done.returncode == 0, done.stdout
    assert "download: 2 files, 0.0 MB from packed.zip" in done.stdout


def test_a_source_that_is_missing(project):
    project.set("data.source", "nowhere.zip")
    assert_it_failed(project, project.run("dvc repro download"), "nowhere.zip does not exist", "data.source")
