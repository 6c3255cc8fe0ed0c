import hashlib
from pathlib import Path

import pytest

from research import figshare
from tests.servers.figshare import Figshare
from tests.servers.loopback import Answer
from trueslice.errors import UserError
from trueslice.sources import download

CONTENT = {11: bytes(range(256)) * 800, 12: b"second"}
NAMES = {11: "1-2.zip", 12: "3-4.zip"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    with Figshare(dict(CONTENT)).running() as server:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(figshare, "ADDRESS", f"{server.url}/files/")
        described = [(NAMES[number], hashlib.md5(body).hexdigest()) for number, body in CONTENT.items()]
        files = [figshare.File(number, *rest) for number, rest in zip(CONTENT, described, strict=True)]
        monkeypatch.setattr(figshare, "FILES", tuple(files))
        monkeypatch.setattr(download, "FIRST_WAIT", 0.01)
        yield server


def ranges(server: Figshare) -> list[str | None]:
    return [request.headers.get("range") for request in server.requests if "/blobs/" in request.path]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


WHOLE = {NAMES[number]: body for number, body in CONTENT.items()}


def test_all_files_come_and_stay(server: Figshare, tmp_path: Path, capsys):
    figshare.download(tmp_path / "new")
    assert contents(tmp_path / "new") == WHOLE
    asked = len(server.requests)
    figshare.download(tmp_path / "new")
    assert len(server.requests) == asked and capsys.readouterr().err.count("which is there") == 2


def test_what_was_cut_is_resumed(server: Figshare, tmp_path: Path):
    server.faults["body"] = [Answer(cut_at=140_000)]
    figshare.download(tmp_path)
    assert contents(tmp_path) == WHOLE
    assert ranges(server) == [None, f"bytes={2 * download.CHUNK}-", None]


def test_what_was_cut_is_resumed_by_the_next_call(server: Figshare, tmp_path: Path):
    server.faults["body"] = [Answer(cut_at=140_000), Answer(404)]
    with pytest.raises(UserError, match=r"did not send 1-2.zip: status 404"):
        figshare.download(tmp_path)
    figshare.download(tmp_path)
    assert contents(tmp_path) == WHOLE
    assert ranges(server)[2] == f"bytes={2 * download.CHUNK}-"


def test_an_answer_with_nothing_is_told(server: Figshare, tmp_path: Path):
    server.faults["body"] = [Answer(202)]
    with pytest.raises(UserError, match=r"did not send 1-2.zip: status 202; .* from https://doi.org"):
        figshare.download(tmp_path)
    assert not (tmp_path / "1-2.zip").exists()


def test_an_error_of_the_server_is_tried_again(server: Figshare, tmp_path: Path, capsys):
    server.faults["body"] = [Answer(503)]
    figshare.download(tmp_path)
    assert contents(tmp_path) == WHOLE and "status 503; trying again" in capsys.readouterr().err


def test_other_bytes_than_the_published_ones_are_deleted(server: Figshare, tmp_path: Path):
    server.files[12] = b"Second"
    with pytest.raises(UserError, match=r"sent for 3-4.zip was deleted: its MD5 is"):
        figshare.download(tmp_path)
    assert contents(tmp_path) == {"1-2.zip": CONTENT[11]}


def test_a_file_of_that_name_that_is_another_is_left_alone(server: Figshare, tmp_path: Path):
    (tmp_path / "1-2.zip").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"1-2.zip is not the published file: its MD5 is .* delete it to download"):
        figshare.download(tmp_path)
    assert contents(tmp_path) == {"1-2.zip": b"mine"} and not server.requests
