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

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
# One name for a file, or for a folder with all that is in it.
EXPECTED = {
    "scans": {
        "data/raw": "c90dfe9c316911c92da4451dd56da0e44c625ccb6d37671433146b1c71e3b6f5",
        "data/scans/conflicts.csv": "1aa15d248261f47684bea8d86b345290eacf2a051eff39afe8847cacfda819b0",
        "data/scans/groups.csv": "e489da4acd20c6d70a72417a3a7208806916c35897ec5fa45260381a7c9246e3",
        "data/scans/pairs.csv": "52a3bb3c7000f0aa033603500cd3446082c1c40f2e6d8c5f81b39c75da1df8d5",
        "data/scans/pixels.npy": "518b627d1346c79b85a118a3726e7593b615b4d5852ed005a6e5add456b0ed59",
        "data/scans/scans.csv": "90a7d5b6f08b004aa01d3329a4b7abec48ba0d3bd102d5f996013d2efd6c6330",
        "data/scans/thumbnails.npy": "fb8c851cb2a7459924c8e6a909c45268672574a4e34d1f334fd25ebeb2a38cf8",
        "data/splits.csv": "835319522dab904600bf36838431099a4b6f73cda7cf688223d19dbc22ed9ea5",
        "metrics/data.json": "3630ddbd9dcbc7c5bd127db8e4cd4ee3331f06b28fad153182333b8c7d38799f",
        "metrics/split.json": "2b455666c6f34c33311ab41b0529044b708182b63ec4b2fe327fe59400886893",
    },
    "tiny": "9c5d0dd115d649ff4e0b8d060fdaa6c4ff2e9d51c932af61d1cb5b56cef35027",
    "tiny_conv": "df5c2b9683d8536bcd4dfc2830517e704a7ac26e8d048980ddc26849561b21f7",
}
# What NumPy finds beyond its baseline, X86_V2, is left out from the first of these up.
DISPATCHED = " ".join(__cpu_dispatch__)
MACHINES = {
    "an old CPU, two threads": {
        "NPY_DISABLE_CPU_FEATURES": DISPATCHED,
        "OPENBLAS_CORETYPE": "Prescott",
        "ATEN_CPU_CAPABILITY": "default",
        "OMP_NUM_THREADS": "2",
    },
    "this CPU, one thread": {"OMP_NUM_THREADS": "1"},
    "a Haswell, two threads": {
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in __cpu_dispatch__ if name != "X86_V3"),
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "OMP_NUM_THREADS": "2",
    },
}


def prepare(folder: Path, checkpoint: str, workers: int) -> None:
    """Write the parameters of a run on 44 phantoms per class, six of which are copies."""
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
    "machine", [pytest.param(name, marks=[pytest.mark.slow] * (row > 0)) for row, name in enumerate(MACHINES)]
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
    "machine", [pytest.param(name, marks=[pytest.mark.slow] * (row > 0)) for row, name in enumerate(MACHINES)]
)
def test_the_small_checkpoints_are_the_same_bytes(checkpoint: str, machine: str, tmp_path: Path):
    prepare(tmp_path, checkpoint, workers=1)
    run("checkpoint", tmp_path, MACHINES[machine])
    assert digest(tmp_path / "models/pretrained") == EXPECTED[checkpoint]


def test_the_default_run_makes_what_dvc_lock_says(project):
    outputs = ("data/raw", "data/scans", "data/splits.csv", "models/pretrained", "metrics/data.json")

    def recorded(folder: Path) -> dict[str, str]:
        stages = YAML(typ="safe").load(folder / "dvc.lock")["stages"].values()
        return {out["path"]: out["md5"] for stage in stages for out in stage["outs"] if out["path"] in outputs}

    project.run("dvc repro split checkpoint", check=True)
    assert sorted(recorded(ROOT)) == sorted(outputs)
    assert recorded(project.root) == recorded(ROOT)
