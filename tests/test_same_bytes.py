"""The stages before the training write the same bytes on every machine.

One machine stands for many here: NumPy, OpenBLAS and PyTorch are told to leave out instructions that this CPU has, and
the number of threads and processes changes. The hashes of what is written stand below; where they change on purpose,
the new ones are in the message of the test that fails.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
# One name for a file, or for a folder with all that is in it.
EXPECTED = {
    "scans": {
        "data/raw": "d22c03a14f66530aa5d63b53a2f7e228e2fdd3f425f7f44b382a353f27b6c7df",
        "data/scans/conflicts.csv": "04df6f061264ebb18cd0c97d9935d4257f20f3355bedf43f977671cfd76dbcd4",
        "data/scans/groups.csv": "b838af7248287c836b774cdf1acaba9b53d1c79a4a4ed7188386fd2684e7f6b5",
        "data/scans/pairs.csv": "713628c6e76a3bedac35c3ae37a035a7b0eaed8949f3e50694f3b28fd4ece613",
        "data/scans/pixels.npy": "0edc1d3ad1c397f3eea090b5a4378776bfa8238957d3bd1251bc868a7c068af8",
        "data/scans/scans.csv": "1088d1c64b1af6bcbff5de716cb90e55c987ba94f58d08c4a529056a4079152b",
        "data/splits.csv": "998005deee67b83bad12caf7e35f591f170627533606c2a661d61ecd38546408",
        "metrics/data.json": "216d39739a1505f4c4e8914003dd69d7862b422b242e2b3b5655473a84b657c3",
        "metrics/split.json": "68c3b21667f88896f15bbea71e6b707808ff47e713d3c69a7ae3c484da5a8231",
    },
    "tiny": "4af7f9bf5e4b6dc7749e8608f44f8b6851f0ad5f1c92895e382b4b2b87126793",
    "tiny_conv": "5bb8cc9a99cd7d2c8195bab0f690332ccf0ff1c3b80730817616d73ec4a39e7d",
}
# What NumPy finds beyond its baseline, X86_V2, is left out from the first of these up.
DISPATCHED = " ".join(__cpu_dispatch__)
MACHINES = {
    "this CPU, one thread": {"OMP_NUM_THREADS": "1"},
    "an old CPU, two threads": {
        "NPY_DISABLE_CPU_FEATURES": DISPATCHED,
        "OPENBLAS_CORETYPE": "Prescott",
        "ATEN_CPU_CAPABILITY": "default",
        "OMP_NUM_THREADS": "2",
    },
    "a Haswell, two threads": {
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in __cpu_dispatch__ if name != "X86_V3"),
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "OMP_NUM_THREADS": "2",
    },
    "a Sandy Bridge, one thread": {
        "NPY_DISABLE_CPU_FEATURES": DISPATCHED,
        "OPENBLAS_CORETYPE": "Sandybridge",
        "ATEN_CPU_CAPABILITY": "default",
        "OMP_NUM_THREADS": "1",
    },
}


def prepare(folder: Path, checkpoint: str, workers: int) -> None:
    """Write the parameters of a run on 44 phantoms per class, three of which are copies."""
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params["data"]["phantom"] |= {"train_per_class": 24, "test_per_class": 20}
    params["checkpoint"]["name"] = checkpoint
    params["machine"]["workers"] = workers
    yaml.dump(params, folder / "params.yaml")


def run(stage: str, folder: Path, machine: dict[str, str]) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NPY_", "OPENBLAS_", "ATEN_"))}
    command = [sys.executable, "-m", f"stages.{stage}"]
    env |= machine | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and hashes of all files in a folder."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file.relative_to(path).as_posix()} {digest(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize(
    "machine", [pytest.param(name, marks=[pytest.mark.slow] * (row > 1)) for row, name in enumerate(MACHINES)]
)
def test_scans_copies_and_splits_are_the_same_bytes(machine: str, tmp_path: Path):
    prepare(tmp_path, "tiny", workers=int(MACHINES[machine]["OMP_NUM_THREADS"]))
    for stage in ("download", "verify", "split"):
        run(stage, tmp_path, MACHINES[machine])
    written = ["data/raw", *(f"data/scans/{path.name}" for path in sorted((tmp_path / "data/scans").iterdir()))]
    written += ["data/splits.csv", "metrics/data.json", "metrics/split.json"]
    assert {name: digest(tmp_path / name) for name in written} == EXPECTED["scans"]


@pytest.mark.parametrize("checkpoint", ["tiny", "tiny_conv"])
@pytest.mark.parametrize(
    "machine", [pytest.param(name, marks=[pytest.mark.slow] * (row > 1)) for row, name in enumerate(MACHINES)]
)
def test_the_small_checkpoints_are_the_same_bytes(checkpoint: str, machine: str, tmp_path: Path):
    prepare(tmp_path, checkpoint, workers=1)
    run("checkpoint", tmp_path, MACHINES[machine])
    assert digest(tmp_path / "models/pretrained") == EXPECTED[checkpoint]


@pytest.mark.slow
def test_the_default_run_makes_what_dvc_lock_says(project):
    outputs = ("data/raw", "data/scans", "data/splits.csv", "models/pretrained", "metrics/data.json")

    def recorded(folder: Path) -> dict[str, str]:
        stages = YAML(typ="safe").load(folder / "dvc.lock")["stages"].values()
        return {out["path"]: out["md5"] for stage in stages for out in stage["outs"] if out["path"] in outputs}

    project.run("dvc repro split checkpoint", check=True)
    assert sorted(recorded(ROOT)) == sorted(outputs)
    assert recorded(project.root) == recorded(ROOT)
