"""The train stage on 192 scans of noise that are brighter from class to class, a sixth of them for the test."""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from stages import FINETUNED, METRICS, PLOTS, PRETRAINED, SCANS, SPLITS
from stages import train as stage
from tests.scan_tables import split_table
from tests.waiting import wait_for
from trueslice import params
from trueslice.checkpoints import drawn as builtin
from trueslice.files import write_json

ROOT = Path(__file__).parents[2]
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
STATES = Path(".cache/training")


def prepare(folder: Path) -> None:
    """Put all that the stage reads into `folder`, and have it save its state after every step."""
    yaml = YAML()
    content = yaml.load(ROOT / "params.yaml")
    content["train"] |= {"epochs": 6, "batch_size": 8, "device": "cpu"}
    content["machine"]["save_interval"] = 0
    yaml.dump(content, folder / "params.yaml")
    pixels = np.random.default_rng(0).integers(0, 100, (192, 64, 64))
    (folder / SCANS).mkdir(parents=True)
    np.save(folder / SCANS / "pixels.npy", (pixels + 40 * (np.arange(192) % 4)[:, None, None]).astype(np.uint8))
    rows = np.arange(192)
    split_table(np.array(CLASSES)[rows % 4], np.repeat(["train", "val", "test"], [128, 32, 32])).write(folder / SPLITS)
    builtin.build(folder / PRETRAINED, seed=0)
    write_json(folder / PRETRAINED / "checkpoint.json", {"name": "tiny", "revision": None})


def copied(folder: Path, into: Path) -> Path:
    return Path(shutil.copytree(folder, into / "run"))


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where torchrun is
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def started(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def train(folder: Path) -> None:
    """Train in this process."""
    with contextlib.chdir(folder):
        stage.main(params.load(Path("params.yaml")))


def finished(folder: Path) -> subprocess.CompletedProcess:
    process = started(folder)
    out, err = process.communicate()
    return subprocess.CompletedProcess("train", process.returncode, out, err)


def set_params(folder: Path, section: str, **values) -> None:
    yaml = YAML()
    content = yaml.load(folder / "params.yaml")
    content[section] |= values
    yaml.dump(content, folder / "params.yaml")


def states(folder: Path) -> set[str]:
    return {path.name for path in (folder / STATES).glob("*/step-*.pt")}


def interrupted(folder: Path, how: signal.Signals, draw: random.Random) -> subprocess.CompletedProcess:
    """Start the training, let it save at least once, and end it at a random moment."""
    before, process = states(folder), started(folder)
    wait_for(lambda: states(folder) - before or process.poll() is not None, "a state")
    time.sleep(draw.uniform(0, 0.3))
    process.send_signal(how)
    out, err = process.communicate()
    return subprocess.CompletedProcess("train", process.returncode, out, err)


def digests(folder: Path) -> dict[str, str]:
    files = [*(folder / FINETUNED).iterdir(), folder / METRICS / "train.json", folder / PLOTS / "steps.csv"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def steps_gone(done: subprocess.CompletedProcess) -> int:
    """After which step a training went on, as it says; 0 if it began anew."""
    lines = [line for line in done.stdout.splitlines() if "goes on after step" in line]
    return int(lines[0].split()[5]) if lines else 0
