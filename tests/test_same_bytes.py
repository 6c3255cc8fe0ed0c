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
        "data/raw": "8fe8accc805fa0b8cb4fc03b74c5b0aa84f84867ebb3643ecdb83318873e524e",
        "data/scans/conflicts.csv": "04df6f061264ebb18cd0c97d9935d4257f20f3355bedf43f977671cfd76dbcd4",
        "data/scans/groups.csv": "9c0b8e5f5fafee2d3cc929274f194e1f8496ff52c3fc3430f95dbcfbf2e7670c",
        "data/scans/pairs.csv": "534a2f3fe429ac8378cef3ed5bb8dc2a311e0d9bb47569a3ae4fac7c4bd1b324",
        "data/scans/pixels.npy": "c157efaba51df44caa75779bd5aeeb68b90c4fded904e2b419ac05b61a3aeb71",
        "data/scans/scans.csv": "28c9679effc52a717585499aec45f4188017f6b1fe611730419e77cbf959f8d4",
        "data/splits.csv": "119ac3e430db68538bea27de04e875b86760b09d611e7a96305d9cb34544d922",
        "metrics/data.json": "167818e63c2b55fc41c5c893054fb551499939ab1340658a7d304b906176e8af",
        "metrics/split.json": "b9d83f8540f1ac92f9cc015e430e305696ecb7cbf07d511c4244554d35abc8d7",
    },
    "tiny": "4af7f9bf5e4b6dc7749e8608f44f8b6851f0ad5f1c92895e382b4b2b87126793",
    "tiny_conv": "1f7b35b34c1c0f4fd590201fc93ac70111b5694ebcedf338d642c64018be2c32",
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
