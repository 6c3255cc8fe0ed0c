"""Which files of a repository are taken, and that each is held to its hash; the stage's tests have the errors."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers.hub import Hub
from tests.servers.loopback import Answer

NAME = "somebody/small-clip"
ROOT = Path(__file__).parents[2]
RUN = """
import json, sys
from pathlib import Path
from trueslice.checkpoints import hub
from trueslice.errors import UserError
constants, arguments, into = json.loads(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
vars(hub).update(constants)
into.mkdir()
try:
    print(hub.fetch(*arguments, into))
except UserError as error:
    sys.exit(f"error: {error}")
"""
SUPPORT = ["config.json", "merges.txt", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"]
OTHERS = ["README.md", ".gitattributes", "flax_model.msgpack", "tf_model.h5", "model.fp16.safetensors"]


@pytest.fixture
def make_hub(tmp_path):
    """Serves a repository of these files, 200 kB of random bytes each unless a size is given."""
    servers = []

    def make(*names: str, **sizes: int) -> Hub:
        folder = tmp_path / f"repository{len(servers)}"
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(os.urandom(sizes.get(name.split(".")[0], 200_000 if "model" in name else 500)))
        running = Hub(NAME, folder).running()
        servers.append(running)
        return running.__enter__()

    yield make
    for running in servers:
        running.__exit__(None, None, None)


@pytest.fixture
def fetch(tmp_path):
    def run(hub: Hub, revision: str | None = None, env: dict | None = None, **constants):
        into = tmp_path / "into"
        shutil.rmtree(into, ignore_errors=True)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return subprocess.run(
            [sys.executable, "-c", RUN, json.dumps(constants), json.dumps([NAME, revision]), str(into)],
            cwd=ROOT,
            env=inherited | {"HF_HOME": str(tmp_path / "home")} | hub.env() | (env or {}),
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def arrived(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (tmp_path / "into").iterdir()}


@pytest.mark.parametrize(
    ("weights", "chosen"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["pytorch_model.bin"], ["pytorch_model.bin"]),
    ],
)
def test_the_weights_come_as_safetensors_if_there_are_any_and_nothing_needless_comes(
    make_hub, fetch, tmp_path, weights, chosen
):
    hub = make_hub(*SUPPORT, *OTHERS, *weights)
    done = fetch(hub)
    assert (done.stdout, done.stderr, done.returncode) == (f"{hub.commit}\n", "", 0)
    assert arrived(tmp_path) == {name: hub.files[name] for name in SUPPORT + chosen}
    asked = {request.path.rsplit("/", 1)[1] for request in hub.requests if "/resolve/" in request.path}
    assert asked == set(SUPPORT + chosen)


@pytest.mark.slow
def test_weights_in_shards(make_hub, fetch, tmp_path):
    shards = [f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)] + ["pytorch_model.bin.index.json"]
    hub = make_hub("config.json", *shards)
    assert fetch(hub).returncode == 0
    assert sorted(arrived(tmp_path)) == ["config.json", *shards]


@pytest.mark.slow
def test_a_repository_without_weights(make_hub, fetch):
    done = fetch(make_hub(*SUPPORT, "tf_model.h5"))
    assert done.returncode == 1 and f"error: {NAME} holds no weights as model.safetensors" in done.stderr


def test_what_changed_in_the_cache_is_noticed_also_offline(make_hub, fetch, tmp_path):
    hub = make_hub("config.json", "model.safetensors")
    assert fetch(hub).returncode == 0
    (cached,) = (tmp_path / "home").rglob("snapshots/*/model.safetensors")
    blob = cached.resolve()
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    done = fetch(hub, env={"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 1 and "model.safetensors of somebody/small-clip does not match the hash" in done.stderr
    assert not blob.exists() and not cached.is_symlink()

    done = fetch(hub, env={"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 1 and "Traceback" not in done.stderr and "part of somebody/small-clip" in done.stderr
    assert fetch(hub).returncode == 0
    assert arrived(tmp_path) == hub.files


@pytest.mark.slow
@pytest.mark.parametrize("pinned", [True, False])
def test_the_cache_serves_when_nothing_answers(make_hub, fetch, tmp_path, pinned):
    hub = make_hub("config.json", "model.safetensors")
    revision = hub.commit if pinned else None
    assert fetch(hub, revision).stdout == f"{hub.commit}\n"
    start = time.monotonic()
    done = fetch(hub, revision, env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert done.stdout == f"{hub.commit}\n", done.stderr
    assert arrived(tmp_path) == hub.files
    assert time.monotonic() - start < 10


@pytest.mark.slow
def test_a_large_file_that_is_cut_resumes(make_hub, fetch, tmp_path):
    hub = make_hub("config.json", "model.safetensors", model=25 * 2**20)
    hub.faults["body"] = [Answer(cut_at=15 * 2**20)]
    assert fetch(hub).returncode == 0
    assert [request.headers["range"] for request in hub.requests if "range" in request.headers] == ["bytes=10485760-"]
    assert arrived(tmp_path) == hub.files


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["info", "tree", "body"])
def test_a_hub_that_falls_silent_is_not_waited_for(make_hub, fetch, kind):
    hub = make_hub("config.json", "model.safetensors")
    hub.faults[kind] = [Answer(200, b"{}", stall=60)]
    start = time.monotonic()
    done = fetch(hub, env={"HF_HUB_DOWNLOAD_TIMEOUT": "1"}, TIMEOUT=1)
    assert time.monotonic() - start < 30
    # The client asks again for lists and files, and not for the commit.
    assert ("check the network" in done.stderr) if kind == "info" else (done.stdout == f"{hub.commit}\n"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["info", "tree"])
@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, None, f"refused access to {NAME} (401); correct or unset HF_TOKEN"),
        (403, "GatedRepo", f"{NAME} is gated; accept its terms"),
        (404, "RepoNotFound", f"no Hugging Face repository {NAME}; correct checkpoint.name"),
    ],
)
def test_a_refusal_is_told_in_one_line(make_hub, fetch, kind, status, code, words):
    hub = make_hub("config.json", "model.safetensors")
    hub.faults[kind] = [Answer(status, b"{}", {"X-Error-Code": code})]
    done = fetch(hub, hub.commit if kind == "tree" else None)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and words in done.stderr, done.stderr


@pytest.mark.slow
def test_a_hub_that_is_out_of_reach_or_breaks_off_is_told(make_hub, fetch):
    hub = make_hub("config.json", "model.safetensors")
    for faults, env in ([Answer(500)], {}), ([], {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        hub.faults["info"] = faults
        assert "cannot be reached, or the connection broke" in fetch(hub, env=env).stderr


@pytest.mark.slow
def test_a_cache_that_another_program_filled_without_a_listing_serves_offline(make_hub, fetch, tmp_path):
    hub = make_hub("config.json", "model.safetensors")
    assert fetch(hub).returncode == 0
    for listing in (tmp_path / "home").rglob("trees/*"):
        listing.unlink()
    assert fetch(hub, env={"HF_HUB_OFFLINE": "1"}).stdout == f"{hub.commit}\n"
    assert arrived(tmp_path) == hub.files
