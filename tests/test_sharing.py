"""From one clone to another through real remotes: the commands of docs/sharing.md, as two people type them."""

import copy
import hashlib
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.servers import ssh

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/sharing.md").read_text("utf-8")
SETUP = re.compile(r"^(?:make setup|\. \.venv|\.venv/bin/pip|cd |git clone).*\n", re.MULTILINE)


def typed(project, heading: str, block: int, **places: object) -> str:
    """Run a code block of the page, less what makes a clone and its environment, at other `places` than the page's."""
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    text = SETUP.sub("", re.findall(r"^```\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)[block])
    for name, value in places.items():
        of_page = {"folder": "/mnt/team/trueslice", "server": "/srv/trueslice"}[name]
        assert of_page in text
        text = text.replace(of_page, str(value))
    return project.run(f"set -e\n{text}", check=True).stdout


def clone(project, folder: Path):
    """Somebody else's clone, on a machine that has nothing else of the project."""
    other = copy.copy(project)
    other.root = folder / "clone"
    other.env = project.env | {"HOME": str(folder / "home")}
    (folder / "home").mkdir(parents=True)
    project.run(f"git clone -q $(git remote get-url origin) {other.root}", check=True)
    other.run("git config user.name Colleague && git config user.email colleague@example.org", check=True)
    return other


def outputs(project) -> dict[str, str]:
    """The hash of every file in data/ and models/, by its path."""
    files = [path for name in ("data", "models") for path in (project.root / name).rglob("*") if path.is_file()]
    assert len(files) > 100
    return {
        str(path.relative_to(project.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != ".gitignore"
    }


def has_all_and_runs_nothing(other, project) -> None:
    assert outputs(other) == outputs(project)
    assert "Running stage" not in other.run("dvc repro", check=True).stdout
    assert other.run("git status --porcelain", check=True).stdout == ""


@pytest.fixture
def published(make_project, finished_project):
    """A copy of a project that has run, with a Git remote of its own."""
    project = make_project(like=finished_project)
    project.run("git init -q --bare ../origin.git && git remote add origin $(realpath ../origin.git)", check=True)
    project.run("git push -q -u origin HEAD", check=True)
    return project


@pytest.fixture
def keys(tmp_path) -> Path:
    ssh.make_keys(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def port(keys):
    with (ssh.sshd if ssh.SSHD else ssh.asyncssh_server)(keys) as port:
        yield port


def to_server(project, port: int, keys: Path, storage: Path) -> None:
    """Push the project to the server, as the page says."""
    ssh.write_client_config(Path(project.env["HOME"]), port, keys / "user")
    typed(project, "Over SSH", 0, server=storage)
    project.run("git commit -q -m storage .dvc/config", check=True)
    typed(project, "To a colleague", 1)


def test_a_colleague_whose_key_is_known_pulls_everything_over_ssh_and_runs_nothing(published, port, keys, tmp_path):
    to_server(published, port, keys, tmp_path / "storage")
    other = clone(published, tmp_path / "colleague")
    ssh.make_keys(tmp_path / "others")
    ssh.write_client_config(Path(other.env["HOME"]), port, tmp_path / "others/user")
    done = other.run("dvc status --cloud")
    assert done.returncode != 0 and "Permission denied" in done.stdout
    ssh.write_client_config(Path(other.env["HOME"]), port, keys / "user")
    typed(other, "To a colleague", 2)
    has_all_and_runs_nothing(other, published)


def test_dvc_takes_any_host_key_and_a_tunnel_of_ssh_only_the_known_one(published, keys, tmp_path):
    folder = Path(published.env["HOME"]) / ".ssh"
    local = ssh.free_port()
    with ssh.sshd(keys) as port:
        to_server(published, port, keys, tmp_path / "storage")
        ssh.make_keys(tmp_path / "others")
        with (folder / "config").open("a") as config:
            config.write(f"  StrictHostKeyChecking yes\n  UserKnownHostsFile {folder}/known_hosts\n")
        ssh_to = f"ssh -F {folder}/config -S {folder}/socket"
        tunnel = f"{ssh_to} -M -f -N -L {local}:localhost:{port} storage.example.org >../ssh.log 2>&1"

        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(tmp_path / 'others/host.pub').read_text()}")
        assert "in sync" in published.run("dvc status --cloud", check=True).stdout
        assert published.run(tunnel).returncode != 0
        assert "HOST IDENTIFICATION HAS CHANGED" in (published.root.parent / "ssh.log").read_text()

        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(keys / 'host.pub').read_text()}")
        published.run(tunnel, check=True)
        url = f"ssh://localhost:{local}{tmp_path}/storage"
        published.run(f"dvc remote modify --local storage url {url}", check=True)
        published.run(f"dvc remote modify --local storage keyfile {keys}/user", check=True)
        assert "in sync" in published.run("dvc status --cloud", check=True).stdout
        published.run(f"{ssh_to} -O exit storage.example.org", check=True)


def test_one_experiment_goes_there_and_back(published, tmp_path):
    typed(published, "To a colleague", 0, folder=tmp_path / "storage")
    typed(published, "To a colleague", 1)
    other = clone(published, tmp_path / "colleague")
    typed(other, "To a colleague", 2)

    typed(other, "One experiment", 0)
    assert "short" in typed(published, "One experiment", 1)
    assert "train.epochs" in published.run("dvc params diff", check=True).stdout
    assert outputs(published) == outputs(other)
    assert "Running stage" not in published.run("dvc repro", check=True).stdout


def test_the_record_of_runs_travels_without_their_files(published, tmp_path):
    typed(published, "To a colleague", 0, folder=tmp_path / "storage")
    published.run("dvc exp run -n tried -S train.epochs=1 train", check=True)
    published.run("python -m trueslice restore", check=True)
    published.run("git push -q && dvc push --run-cache", check=True)
    other = clone(published, tmp_path / "colleague")
    other.run("dvc pull --run-cache", check=True)

    for project, said in ((published, "Stage 'train' is cached"), (other, "Running stage 'train'")):
        project.set("train.epochs", 1)
        assert said in project.run("dvc repro train", check=True).stdout


def merged(project) -> None:
    """Check out what GitHub checks out for a pull request: a merge of `change` into main that nobody has pushed."""
    project.run("git checkout -q -B merge main && git merge -q --no-ff -m merge change", check=True)


def summary(project, steps: list[str]) -> str:
    """What the steps of the workflow's job write for the reader of a pull request."""
    path = project.root.parent / "summary.md"
    path.unlink(missing_ok=True)
    env = {
        "GITHUB_STEP_SUMMARY": str(path),
        "GITHUB_REPOSITORY": "team/trueslice",
        "REPORT": "https://github.com/team/trueslice/actions/runs/1/artifacts/2",
    }
    for step in steps:
        project.run(step, env, check=True)
    return path.read_text("utf-8")


def tables(markdown: str) -> list[list[list[str]]]:
    """The rows of each table, heading first, each with as many cells as its heading."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        assert all(len(row) == len(rows[0]) for row in rows), block
        found.append([row for row in rows if not set("".join(row)) <= set("-:")])
    return found


def test_the_steps_of_the_workflow_show_what_a_pull_request_changes(make_project, finished_project):
    project = make_project(like=finished_project)
    project.add_make(".ci", ".github")
    job = YAML(typ="safe").load(ROOT / ".github/workflows/ci.yml")["jobs"]["results"]
    steps = [step["run"] for step in job["steps"] if "run" in step]
    project.run("git add -A && git commit -q -m base && git branch -M main && git checkout -q -b change", check=True)
    project.set("train.epochs", 1)
    project.run("git commit -q -a -m 'Train for one epoch'", check=True)

    merged(project)
    text = summary(project, steps)
    params, headline, *_ = tables(text)
    assert params[1:] == [["params.yaml", "train.epochs", "2", "1"]]
    assert {row[0] for row in headline[1:]} == {"metrics/summary.json"}
    assert "The pull request commits no other figure." in text and "This run drew" in text
    assert "[The report of this run](https://github.com/team/trueslice/actions/runs/1/artifacts/2)" in text

    project.run("git stash -q && git checkout -q change && git stash pop -q && git commit -q -a -m results", check=True)
    head = project.run("git rev-parse HEAD", check=True).stdout.strip()
    merged(project)
    text = summary(project, steps)
    base = project.run("git rev-parse main", check=True).stdout.strip()
    *_, figures = tables(text)
    shown = "https://github.com/team/trueslice/raw/{}/plots/figures/training_loss.png"
    assert [row for row in figures if shown.format(base) in row[0] and shown.format(head) in row[1]]
    assert "This run drew" not in text
