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


PROGRAM = """
from pathlib import Path
from stages import checkpoint, download, split, verify
from trueslice import params

settings = params.load(Path("params.yaml"))
for stage in (download, verify, split):
    stage.main(settings)
for name in ("tiny", "tiny_conv"):
    chosen = params.Checkpoint(name=name, revision=None, image_size=None)
    checkpoint.main(settings.model_copy(update={"checkpoint": chosen}))
    Path("models/pretrained").rename(name)
"""


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and hashes of all files in a folder."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file.relative_to(path).as_posix()} {digest(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("machine", MACHINES)
def test_scans_copies_splits_and_small_checkpoints_are_the_same_bytes(machine: str, tmp_path: Path):
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params["data"]["phantom"] |= {"train_per_class": 24, "test_per_class": 20}  # six of 44 are copies
    params["machine"]["workers"] = int(MACHINES[machine]["OMP_NUM_THREADS"])
    yaml.dump(params, tmp_path / "params.yaml")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NPY_", "OPENBLAS_", "ATEN_"))}
    env |= MACHINES[machine] | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, env=env, check=True)
    assert {name: digest(tmp_path / name) for name in EXPECTED} == EXPECTED
    assert {path.name for path in (tmp_path / "data/scans").iterdir()} == {
        Path(name).name for name in EXPECTED if name.startswith("data/scans/")
    }
