"""`trueslice push` with the hub's real client against a loopback hub: what arrives, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.made import released_model
from tests.servers.hub import Account, Repository
from tests.servers.loopback import Answer
from trueslice.inference.folder import write_settings

ROOT = Path(__file__).parents[2]
REPO = "somebody/tumours"
CARD = "---\nlicense: mit\n---\n\n# A model\n"


@pytest.fixture
def hub():
    with Account("somebody").running() as server:
        yield server


@pytest.fixture
def model(tmp_path) -> Path:
    """A folder that looks like a released model, with one large file, and with a file that is the system's."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "README.md").write_text(CARD)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(os.urandom(200_000))
    (folder / ".DS_Store").write_text("litter")
    write_settings(released_model(), folder)
    return folder


@pytest.fixture
def push(tmp_path, model, hub):
    """Runs the command; tokens and caches of the developer are out of its sight."""

    def run(options: str = "", repo: str = REPO, **env: str | None) -> subprocess.CompletedProcess:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        env = inherited | {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)} | hub.env() | env
        return subprocess.run(
            [sys.executable, "-m", "trueslice", "push", repo, "--model", str(model), *options.split()],
            cwd=tmp_path,
            env={name: value for name, value in env.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".DS_Store"}


def test_the_model_arrives_whole_in_a_private_repository_that_is_made_for_it(push, hub, model):
    done = push()
    assert done.returncode == 0, done.stderr
    assert hub.repositories[REPO].private
    assert hub.repositories[REPO].files == contents(model)
    assert len(hub.repositories[REPO].commits) == 1
    assert f"Uploaded to {hub.url}/{REPO} (private)" in done.stdout


def test_a_dry_run_lists_the_files_and_asks_nobody(push, hub, model):
    done = push("--dry-run", HF_TOKEN=None)
    assert (done.returncode, done.stderr, hub.requests) == (0, "", [])
    sizes = {name: size for size, name in (line.split(" bytes  ") for line in done.stdout.splitlines()[:4])}
    assert {name: int(size.replace(",", "")) for name, size in sizes.items()} == {
        path.name: path.stat().st_size for path in model.iterdir() if path.name != ".DS_Store"
    }
    assert f"bytes in 4 files for {REPO} (private)" in done.stdout


def test_only_public_makes_it_public(push, hub):
    done = push("--public")
    assert done.returncode == 0, done.stderr
    assert not hub.repositories[REPO].private and "(public)" in done.stdout


@pytest.mark.slow
def test_what_changed_replaces_what_is_there_and_the_rest_stays(push, hub, model):
    hub.repositories[REPO] = Repository(private=True, files={"config.json": b"old", "notes.txt": b"mine"})
    assert push().returncode == 0
    assert hub.repositories[REPO].files == contents(model) | {"notes.txt": b"mine"}


def refused(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "Uploaded" not in done.stdout
    return done.stderr


@pytest.mark.parametrize("there", ["public", "private"])
def test_a_repository_of_the_other_visibility_is_left_alone(push, hub, there):
    hub.repositories[REPO] = Repository(private=there == "private")
    said = refused(push("" if there == "public" else "--public"))
    assert f"error: {REPO} is {there}, so nothing was uploaded; " in said
    assert hub.repositories[REPO].files == {} and {request.method for request in hub.requests} == {"GET"}


def test_a_public_repository_that_was_asked_for_as_private_gets_nothing(push, hub):
    hub.faults["create"] = [Answer(200, json.dumps({"url": f"{hub.url}/{REPO}"}).encode())]
    hub.faults["info"] = [Answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})]
    hub.repositories[REPO] = Repository(private=False)
    assert f"{REPO} is public, so nothing was uploaded" in refused(push())


REFUSALS = [
    ({"HF_TOKEN": None}, "there is no token for the hub; run `hf auth login`, or set HF_TOKEN"),
    ({"HF_TOKEN": "hf_bad"}, f"the hub refused {REPO} (401: Invalid credentials in Authorization header); use a token"),
    ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "the hub cannot be reached, or the connection broke (ConnectError"),
    ({"HF_HUB_OFFLINE": "1"}, "the hub is switched off (HF_HUB_OFFLINE); unset it to upload"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("env", "said"), REFUSALS, ids=["no token", "wrong token", "no network", "offline"])
def test_what_stands_between_here_and_the_hub_is_told_in_one_line(push, env, said):
    assert said in refused(push(**env))


@pytest.mark.slow
def test_a_namespace_of_somebody_else_is_refused(push, hub):
    said = refused(push(repo="another/tumours"))
    assert "the hub refused another/tumours (403: You don't have the rights to create a model" in said
    assert hub.repositories == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "answer", "said"),
    [
        ("preupload", Answer(403, b"{}", {"X-Error-Message": "read only"}), f"the hub refused {REPO} (403: read only)"),
        ("body", Answer(403, b"{}", {"X-Error-Message": "expired"}), f"the hub refused {REPO} (403: expired)"),
        ("commit", Answer(413, b"{}", {"X-Error-Message": "too large"}), f"the upload to {REPO} (413: too large)\n"),
        ("commit", Answer(500, b"{}"), f"the upload to {REPO} (500: it gives no reason); try again later"),
        ("create", Answer(409, b"{}"), f"{REPO} exists, but this token does not show it"),
    ],
)
def test_an_upload_that_fails_on_its_way_is_told_in_one_line(push, hub, kind, answer, said):
    hub.faults[kind] = [answer]
    assert said in refused(push())
    assert REPO not in hub.repositories or hub.repositories[REPO].files == {}


@pytest.mark.slow
def test_a_card_that_the_hub_does_not_accept_stops_the_upload(push, hub, model):
    (model / "README.md").write_text(CARD.replace("mit", "mine"))
    assert '"license" must be one of the known ones' in refused(push())
    assert hub.repositories[REPO].files == {}


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("README.md", "model has no README.md, so it is not a released model; run `dvc repro`"),
        ("trueslice.json", "model has no trueslice.json, so it is not a released model"),
        ("model.safetensors", "model/model.safetensors is missing; make the model again"),
    ],
)
def test_a_folder_that_is_not_a_released_model_is_refused(push, hub, model, missing, said):
    (model / missing).unlink()
    assert said in refused(push("--dry-run")) and hub.requests == []


@pytest.mark.slow
def test_a_folder_that_is_not_there_is_refused(push, hub):
    assert (
        "nowhere does not exist, so it is not a released model; run `dvc repro`" in refused(push("--model nowhere"))
        and hub.requests == []
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tumours", "a/b/c", "somebody/ü", "--"])
def test_a_name_that_is_not_one_of_a_repository_is_refused(push, hub, name):
    done = push("--dry-run", repo=name)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr and hub.requests == []
