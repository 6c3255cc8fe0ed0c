"""What our side adds to the official client, each run in a process of its own; the stage's tests have the rest."""

import hashlib
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers.kaggle import Kaggle
from tests.servers.loopback import Answer

DATASET = "somebody/brain-scans"
ROOT = Path(__file__).parents[2]
RUN = """
import json, sys
from pathlib import Path
from trueslice.errors import UserError
from trueslice.sources import download, kaggle
constants, arguments, cache = json.loads(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
vars(download).update(constants)
try:
    path = kaggle.bring(*arguments, cache)
except UserError as error:
    sys.exit(f"error: {error}")
print("stdin:", sys.stdin.read())
print("path:", path)
"""


def pack(size: int = 200_000) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("glioma/1.jpg", bytes(range(250)) * (size // 250))
        archive.writestr("notumor/1.jpg", b"scan")
    return buffer.getvalue()


ARCHIVE = pack()
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()


@pytest.fixture
def kaggle():
    with Kaggle({(DATASET, 1): ARCHIVE, (DATASET, 2): pack(1000)}).running() as server:
        yield server


@pytest.fixture
def download(kaggle, tmp_path):
    def run(version=1, sha256=None, env=None, **constants) -> subprocess.CompletedProcess:
        arguments = [json.dumps(constants), json.dumps([DATASET, version, sha256]), str(tmp_path / "cache")]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KAGGLE_")}
        return subprocess.run(
            [sys.executable, "-c", RUN, *arguments],
            cwd=ROOT,
            env=inherited | kaggle.env(tmp_path) | (env or {}),
            input="for us",
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def folder(tmp_path: Path, version: int | str = 1) -> Path:
    return tmp_path / "cache" / DATASET / str(version)


SILENT = Answer(200, b"{}", stall=60)


def ranges(kaggle) -> list[str | None]:
    return [request.headers.get("range") for request in kaggle.requests if "/blobs/" in request.path]


def test_the_client_neither_speaks_on_stdout_nor_takes_stdin(download, tmp_path):
    done = download()
    assert done.returncode == 0, done.stderr
    archive = folder(tmp_path) / "brain-scans.zip"
    expected = f"kaggle: brain-scans.zip has SHA-256 {SHA256}; set data.kaggle.sha256 to it to insist on these bytes"
    assert done.stdout.splitlines() == [expected, "stdin: for us", f"path: {archive}"]
    assert done.stderr == ""
    assert archive.read_bytes() == ARCHIVE
    assert [path.name for path in folder(tmp_path).iterdir()] == [archive.name]


def test_an_archive_that_is_there_is_used_if_it_is_the_expected_one(download, kaggle):
    download()
    seen = len(kaggle.requests)
    done = download(sha256=SHA256)
    assert done.returncode == 0 and "downloaded before; delete it" in done.stderr
    wrong = download(sha256="0" * 64)
    assert wrong.returncode == 1 and "correct that parameter, or delete the archive" in wrong.stderr
    assert f"has SHA-256 {SHA256}, but data.kaggle.sha256 is {'0' * 64}" in wrong.stderr
    assert len(kaggle.requests) == seen


def test_of_two_at_once_one_downloads(download, kaggle):
    kaggle.faults["body"] = [Answer(cut_at=140_000)]  # so that it takes longer than to start the other
    with ThreadPoolExecutor(2) as pool:
        both = [run.result() for run in [pool.submit(download, FIRST_WAIT=3) for _ in range(2)]]
    assert [done.returncode for done in both] == [0, 0], both
    assert sum("downloaded before" in done.stderr for done in both) == 1
    assert ranges(kaggle) == [None, f"bytes={2**17}-"]


@pytest.mark.slow
def test_no_version_takes_the_newest(download, kaggle, tmp_path):
    assert download(version=None).returncode == 0
    assert (folder(tmp_path, "newest") / "brain-scans.zip").read_bytes() == kaggle.datasets[DATASET, 2]


@pytest.mark.slow
def test_a_download_that_ended_resumes_in_the_next_run(download, kaggle, tmp_path):
    kaggle.faults["body"] = [Answer(cut_at=140_000)]
    kaggle.faults["sign"] = [None, Answer(403)]
    assert download().returncode == 1
    assert (folder(tmp_path) / "incoming/brain-scans.zip").stat().st_size == 2**17
    assert download().returncode == 0
    assert ranges(kaggle) == [None, f"bytes={2**17}-"]
    assert (folder(tmp_path) / "brain-scans.zip").read_bytes() == ARCHIVE


@pytest.mark.slow
def test_many_cuts_with_progress_between_them_are_no_reason_to_give_up(download, kaggle):
    kaggle.faults["body"] = [Answer(cut_at=66_000)] * 3
    assert download(ATTEMPTS=1).returncode == 0
    assert ranges(kaggle)[1:] == [f"bytes={2**16}-", f"bytes={2**17}-", f"bytes={3 * 2**16}-"]


@pytest.mark.slow
def test_a_body_of_unknown_length_that_is_cut_is_noticed(download, kaggle, tmp_path):
    cut = Answer(200, ARCHIVE[:100_000], {"Content-Length": None, "Content-Type": "application/zip"})
    kaggle.faults["body"] = [cut]
    done = download()
    assert done.returncode == 1 and "is damaged and was deleted" in done.stderr
    assert not list(folder(tmp_path).rglob("*.zip"))


@pytest.mark.slow
def test_a_damaged_archive_is_deleted(download, kaggle, tmp_path):
    bad = bytearray(ARCHIVE)
    bad[100_000] ^= 1
    kaggle.faults["body"] = [Answer(200, bytes(bad))]
    done = download()
    assert done.returncode == 1 and "is damaged and was deleted (glioma/1.jpg does not match its" in done.stderr
    assert not list(folder(tmp_path).rglob("*.zip")) and download().returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "env", "faults", "words"),
    [
        (1, {"KAGGLE_API_TOKEN": "bad-token"}, [], ["(401)", "KAGGLE_API_TOKEN", "KAGGLE_USERNAME and KAGGLE_KEY"]),
        (7, {}, [], [f"version 7 of {DATASET} (404)", "data.kaggle.version"]),
        (1, {}, [Answer(500)] * 5, ["(500)", "again later"]),
    ],
)
def test_a_refusal_is_told_in_one_line(download, kaggle, version, env, faults, words):
    kaggle.faults["sign"] = list(faults)
    done = download(version=version, env=env, FIRST_WAIT=0.01)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and all(word in last for word in [*words, f"https://www.kaggle.com/datasets/{DATASET}"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sign", "body"])
@pytest.mark.parametrize("fault", [Answer(429, headers={"Retry-After": "1"}), Answer(503, b"<html>busy</html>")])
def test_a_busy_server_is_asked_again(download, kaggle, kind, fault):
    kaggle.faults[kind] = [fault]
    done = download(FIRST_WAIT=0.01)
    assert done.returncode == 0 and f"({fault.status})" in done.stderr and "trying again in" in done.stderr


@pytest.mark.slow
def test_a_long_wished_wait_is_told_and_not_slept(download, kaggle):
    kaggle.faults["sign"] = [Answer(429, headers={"Retry-After": "3600"})]
    start = time.monotonic()
    done = download()
    assert done.returncode == 1 and "(429)" in done.stderr and "run `dvc repro` again later" in done.stderr
    assert time.monotonic() - start < 30


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sign", "body"])
def test_a_server_that_falls_silent_is_not_waited_for(download, kaggle, kind):
    kaggle.faults[kind] = [SILENT] * 2
    start = time.monotonic()
    done = download(TIMEOUT=5, ATTEMPTS=2, FIRST_WAIT=0.1)
    assert time.monotonic() - start < 30
    assert done.returncode == 1 and "check the network" in done.stderr and "Traceback" not in done.stderr
    assert not kaggle.faults[kind]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "header"),
    [
        ({"KAGGLE_API_TOKEN": "good-token"}, "Bearer good-token"),
        ({"KAGGLE_USERNAME": "somebody", "KAGGLE_KEY": "key"}, "Basic c29tZWJvZHk6a2V5"),
    ],
)
def test_credentials_of_the_environment_are_sent(download, kaggle, env, header):
    kaggle.tokens.add("Basic c29tZWJvZHk6a2V5")
    assert download(env=env).returncode == 0
    sent = {request.headers.get("authorization") for request in kaggle.requests if "Download" in request.path}
    assert sent == {header}


@pytest.mark.slow
def test_an_archive_that_has_changed_since_the_cut_comes_anew(download, kaggle, tmp_path):
    kaggle.faults["body"] = [Answer(cut_at=140_000)]
    kaggle.faults["sign"] = [None, Answer(403)]
    assert download().returncode == 1
    kaggle.datasets[DATASET, 1] = pack(150_000)
    done = download()
    assert done.returncode == 0 and "damaged" not in done.stderr
    assert (folder(tmp_path) / "brain-scans.zip").read_bytes() == kaggle.datasets[DATASET, 1]


@pytest.mark.slow
def test_an_archive_that_came_whole_before_a_kill_is_not_fetched_again(download, kaggle, tmp_path):
    assert download().returncode == 0
    incoming = folder(tmp_path) / "incoming/brain-scans.zip"
    incoming.parent.mkdir()
    (folder(tmp_path) / "brain-scans.zip").rename(incoming)
    (incoming.parent / "etag").write_text(f'"{hashlib.md5(ARCHIVE).hexdigest()}"')
    assert download().returncode == 0
    assert ranges(kaggle) == [None, f"bytes={len(ARCHIVE)}-"]
    assert (folder(tmp_path) / "brain-scans.zip").read_bytes() == ARCHIVE
