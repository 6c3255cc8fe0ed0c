"""A scratch copy of the project, in which a test runs the pipeline as a user would."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dvc.utils.serialize import modify_yaml
from filelock import FileLock

# Where tests run in the background, they and all that they start would ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Before PyTorch and NumPy are imported: tests run side by side on small data, so each has one thread.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

ROOT = Path(__file__).parents[1]
PARTS = (
    *("stages", "trueslice", "presets", "params.yaml", "dvc.yaml", "decisions.csv"),
    *(".dvc/config", ".dvc/.gitignore", ".dvc/plots", ".dvcignore", ".gitignore"),
)
# A pipeline that runs in seconds, and still makes every figure but the examples of explanations.
SMALL = {
    "data.phantom.train_per_class": 24,
    "data.phantom.test_per_class": 20,
    "verify.image_size": 64,
    "train.epochs": 2,
    "train.device": "cpu",
}
# What a developer's own machine must not bring into a test: credentials, proxies, caches, an outer DVC or Git run.
OUTSIDE = ("KAGGLE_", "HF_", "HUGGING", "TRANSFORMERS_", "DVC_", "GIT_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class Project:
    """A scratch copy of the project: a Git repository with one commit, under DVC, with nothing of it run yet.

    A folder that has one already is taken as it is.

    Attributes:
        root: its folder.
        env: the environment of every command; HOME and the Hugging Face cache lie beside `root`.
    """

    def __init__(self, folder: Path, like: "Project | None" = None):
        self.root = folder / "project"
        inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith(OUTSIDE)}
        self.env = inherited | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(folder / "home"),
            "HF_HOME": str(folder / "home/huggingface"),
            "NO_PROXY": "127.0.0.1,localhost",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if self.root.exists():
            return
        if like:
            shutil.copytree(like.root, self.root)
            shutil.copytree(like.env["HOME"], self.env["HOME"])
            return
        Path(self.env["HOME"]).mkdir()
        for part in PARTS:
            source, target = ROOT / part, self.root / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        self.run("git init -q && git config user.name Tester && git config user.email tester@example.org", check=True)
        self.run("git add -A && git commit -q -m start", check=True)

    def run(self, command: str, env: dict[str, str] | None = None, check: bool = False) -> subprocess.CompletedProcess:
        """Run a shell command in the project, with `env` on top of the environment; stderr goes to `.stdout` too."""
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.root,
            env=self.env | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert not check or done.returncode == 0, done.stdout
        return done

    def add_make(self, *others: str) -> None:
        """Copy what `make` and `others` need, and let it find an environment that is set up: that of the tests."""
        for name in ("Makefile", "requirements.txt", "constraints.txt", "pyproject.toml", *others):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, self.root / name)
        venv = self.root / ".venv"
        venv.mkdir()
        for path in Path(sys.prefix).glob("[!.]*"):
            (venv / path.name).symlink_to(path)
        (venv / ".ready").touch()

    def set(self, key: str, value: object) -> None:
        """Set a parameter, given by its dotted name, in params.yaml."""
        *sections, name = key.split(".")
        with modify_yaml(self.root / "params.yaml") as section:
            for part in sections:
                section = section[part]
            assert name in section, f"params.yaml has no {key}"
            section[name] = value


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Gives a folder by its name: filled by the first worker that asks for it, read by all."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        path, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(path, ignore_errors=True)  # of another test that failed to fill it
                path.mkdir()
                fill(path)
                done.touch()
        return path

    return folder


@pytest.fixture(scope="session")
def make_project(tmp_path_factory) -> Callable[..., Project]:
    """Makes another project with each call: a fresh one, or one that is `like` another and goes on from there."""
    return lambda like=None: Project(tmp_path_factory.mktemp("scratch"), like)


@pytest.fixture
def project(make_project) -> Project:
    return make_project()


def run_pipeline(folder: Path) -> None:
    project = Project(folder)
    for key, value in SMALL.items():
        project.set(key, value)
    project.run("dvc repro", check=True)
    project.run("git add -A && git commit -q -m results", check=True)


@pytest.fixture(scope="session")
def finished_project(once) -> Project:
    """A small project that has run once, with its results committed. Not to be written to: take one `like` it."""
    return Project(once("finished-project", run_pipeline))


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of its own with room for 40 MB, where this user may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", disk], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """The CPU, then the GPU: what a test does on the one must hold on the other."""
    import torch

    from trueslice.device import repeat_exactly

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU here")
    if request.param == "cpu":
        yield torch.device("cpu")
        return
    repeat_exactly()
    # Convolutions would round float32 to TF32 there, and differ more than a test of the same numbers allows.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield torch.device("cuda")
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    from tests.browsers import chromium

    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def tiny_folder(once) -> Path:
    """The checkpoint `tiny`."""
    from trueslice.checkpoints import drawn as builtin

    return once("tiny", lambda folder: builtin.build(folder, seed=0))


@pytest.fixture
def encoder(tiny_folder):
    """The checkpoint `tiny`, loaded anew for each test."""
    from trueslice.model.encoder import Encoder

    return Encoder.load(tiny_folder, "cpu")


@pytest.fixture(scope="session")
def released(once) -> Path:
    """A folder with a released model in models/released, and all that it was made of. Not to be written to."""
    from tests import finished

    return once("released", finished.make)
