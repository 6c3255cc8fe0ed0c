"""The train stage, ended from outside at any moment and in any way, goes on and comes to the same end."""

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
import psutil
import pytest
from ruamel.yaml import YAML

from stages.common import FINETUNED, METRICS, PLOTS, PRETRAINED, SCANS, SPLITS
from tumorclip.clip import tiny
from tumorclip.files import write_csv, write_json

ROOT = Path(__file__).parents[2]
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
STATES = Path(".cache/training")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> Path:
    """A folder with all that the train stage reads: 160 scans of noise that is brighter from class to class."""
    folder = tmp_path_factory.mktemp("interrupted")
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params["train"] |= {"epochs": 8, "batch_size": 8, "device": "cpu"}
    params["machine"]["save_interval"] = 0
    yaml.dump(params, folder / "params.yaml")
    pixels = np.random.default_rng(0).integers(0, 100, (160, 64, 64))
    (folder / SCANS).mkdir(parents=True)
    np.save(folder / SCANS / "pixels.npy", (pixels + 40 * (np.arange(160) % 4)[:, None, None]).astype(np.uint8))
    rows = [
        {"row": row, "class": CLASSES[row % 4], "group": row, "split": "val" if row >= 128 else "train"}
        for row in range(160)
    ]
    write_csv(folder / SPLITS, list(rows[0]), rows)
    tiny.build(folder / PRETRAINED, seed=0)
    write_json(folder / PRETRAINED / "checkpoint.json", {"name": "tiny", "revision": None})
    return folder


@pytest.fixture(scope="module")
def trained(untrained: Path, tmp_path_factory) -> dict[str, str]:
    """What a training without interruption makes."""
    folder = copied(untrained, tmp_path_factory.mktemp("reference"))
    done = finished(folder)
    assert done.returncode == 0, done.stderr
    assert not list((folder / STATES).iterdir())
    return digests(folder)


@pytest.fixture
def folder(untrained: Path, tmp_path: Path) -> Path:
    return copied(untrained, tmp_path)


def copied(folder: Path, into: Path) -> Path:
    return Path(shutil.copytree(folder, into / "run"))


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


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


def finished(folder: Path) -> subprocess.CompletedProcess:
    process = started(folder)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess("train", process.returncode, out, err)


def set_params(folder: Path, section: str, **values) -> None:
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    params[section] |= values
    yaml.dump(params, folder / "params.yaml")


def states(folder: Path) -> set[str]:
    return {path.name for path in (folder / STATES).glob("*/step-*.pt")}


def wait_for(condition, what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come within {seconds} seconds"
        time.sleep(0.002)


def interrupted(folder: Path, how: signal.Signals, draw: random.Random) -> subprocess.CompletedProcess:
    """Start the training, let it save at least once, and end it at a random moment."""
    before, process = states(folder), started(folder)
    wait_for(lambda: states(folder) - before or process.poll() is not None, "a state")
    time.sleep(draw.uniform(0, 0.3))
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess("train", process.returncode, out, err)


def digests(folder: Path) -> dict[str, str]:
    files = [*(folder / FINETUNED).iterdir(), folder / METRICS / "train.json", folder / PLOTS / "steps.csv"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def steps_gone(done: subprocess.CompletedProcess) -> int:
    """After which step a training went on, as it says; 0 if it began anew."""
    lines = [line for line in done.stdout.splitlines() if "goes on after step" in line]
    return int(lines[0].split()[5]) if lines else 0


@pytest.mark.slow
@pytest.mark.parametrize(("tune", "times"), [("full", 8), ("lora", 4), ("projection", 4)])
def test_killed_many_times_it_ends_with_the_same_bytes(untrained, folder, tmp_path, tune, times):
    settings = {"tune": tune, "ema": 0.9, "wise_ft": True, "captions": "random", "balance": "sampler"}
    whole = copied(untrained, tmp_path / "whole")
    for each in (whole, folder):
        set_params(each, "train", **settings)
    assert finished(whole).returncode == 0
    draw = random.Random(tune)
    for _ in range(times):
        how = draw.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        done = interrupted(folder, how, draw)
        assert "Traceback" not in done.stderr
        if done.returncode == 0:
            break
        assert not (folder / FINETUNED).exists()
    else:
        done = finished(folder)
        assert done.returncode == 0, done.stderr
        assert steps_gone(done) > 0
    assert digests(folder) == digests(whole)
    assert not states(folder)


def test_after_a_kill_it_goes_on_and_ends_with_the_same_bytes(trained, folder):
    interrupted(folder, signal.SIGKILL, random.Random(0))
    at = max(int(name.split("-")[1]) for name in states(folder))
    done = finished(folder)
    assert done.returncode == 0, done.stderr
    assert steps_gone(done) == at
    assert digests(folder) == trained


@pytest.mark.slow
def test_a_stop_by_the_user_is_one_line(folder):
    done = interrupted(folder, signal.SIGINT, random.Random(0))
    assert done.returncode == 130
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert errors == ["error: stopped by the user; `dvc repro` takes this stage up again"]


@pytest.mark.slow
@pytest.mark.parametrize("change", ["params", "labels", "code"])
def test_a_state_that_belongs_to_something_else_is_not_taken_up(folder, change):
    interrupted(folder, signal.SIGKILL, random.Random(0))
    if change == "params":
        set_params(folder, "train", learning_rate=2e-3)
    elif change == "labels":
        text = (folder / SPLITS).read_text()
        (folder / SPLITS).write_text(text.replace("\n0,glioma,", "\n0,notumor,"))
        assert (folder / SPLITS).read_text() != text
    else:
        for name in ("stages", "tumorclip"):  # the working folder comes before PYTHONPATH
            shutil.copytree(ROOT / name, folder / name)
        with (folder / "tumorclip/clip/objectives.py").open("a") as file:
            file.write("\n# another version\n")
    done = finished(folder)
    assert done.returncode == 0, done.stderr
    assert steps_gone(done) == 0


@pytest.mark.slow
def test_a_damaged_state_is_named_and_the_training_begins_anew(trained, folder):
    interrupted(folder, signal.SIGKILL, random.Random(0))
    for path in (folder / STATES).glob("*/step-*.pt"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    done = finished(folder)
    assert done.returncode == 0, done.stderr
    assert steps_gone(done) == 0
    assert "is damaged, and was set aside" in done.stderr
    assert digests(folder) == trained


@pytest.mark.slow
def test_on_a_full_disk_it_ends_in_one_line_and_goes_on_once_there_is_room(trained, untrained, small_disk):
    folder = copied(untrained, small_disk)
    interrupted(folder, signal.SIGKILL, random.Random(0))
    before = states(folder)
    filling = small_disk / "filling"
    with filling.open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))
    done = finished(folder)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "the disk is full" in errors[0] and "Traceback" not in done.stderr
    assert states(folder) == before
    filling.unlink()
    done = finished(folder)
    assert done.returncode == 0, done.stderr
    assert steps_gone(done) > 0
    assert digests(folder) == trained


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
@pytest.mark.slow
def test_it_ends_when_its_parent_is_killed(folder):
    program = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'stages.train'])"
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=folder, env=environment())
    wait_for(lambda: states(folder), "a state")
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    child.wait(20)  # or psutil.TimeoutExpired
