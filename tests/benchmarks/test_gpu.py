"""benchmarks/gpu.py, tried on the CPU: so that the day a GPU is at hand is not the day on which it is debugged."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.peers import Enough
from tests.families import FAMILIES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(*options: str, path: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *options],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
    )


def test_in_a_small_size_everything_is_measured_on_the_cpu(tmp_path):
    done = run("--small", "--out", str(tmp_path / "gpu.json"), "--seconds", "800")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert result["tests"]["complete"] and result["tests"]["passed"] == len(FAMILIES) and not result["tests"]["failed"]
    assert result["ceiling"]["float32"] > 1e9 and set(result["flops_per_image"]) == set(gpu.TUNES)
    assert result["not_measured"] == []
    lines = {(line["tune"], line["batch"], line["compile"]) for line in result["lines"]}
    assert lines == {(tune, batch, each) for tune in gpu.TUNES for batch in gpu.SMALL.batches for each in (False, True)}
    for line in result["lines"] + result["ten_epochs"]:
        assert "error" not in line
        assert line["images_per_second"] > 0 and line["of_ceiling"] > 0 and line["peak_mb"] > 0
    assert [line["tune"] for line in result["ten_epochs"]] == ["full", "full", "vision", "lora", "projection"]
    assert all(line["seconds"] > 0 and 0 <= line["val_accuracy"] <= 1 for line in result["ten_epochs"])
    assert done.stdout.count("\n| `") == len(result["lines"]) + len(result["ten_epochs"])


def test_what_there_was_no_time_for_is_named(tmp_path):
    done = run("--small", "--out", str(tmp_path / "gpu.json"), "--seconds", "0.1")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert not result["tests"]["complete"] and result["lines"] == []
    assert result["not_measured"] == list(map(str, gpu.plan(gpu.SMALL)))
    assert "not all were run for lack of time" in done.stdout
    assert "Not measured for lack of time: full, batch 8; " in done.stdout


def test_steps_that_are_faster_than_the_clock_asks_for_are_timed_over_one_epoch():
    watch = gpu.Stopwatch(torch.device("cpu"), seconds=3600)
    with pytest.raises(Enough):
        for _ in range(gpu.STEPS + 1):
            watch.due()
    assert watch.steps == gpu.STEPS and watch.steps_per_second() > 0


def test_missing_packages_are_named_in_one_line(tmp_path):
    (tmp_path / "ruamel").mkdir()
    (tmp_path / "ruamel/__init__.py").touch()
    (tmp_path / "peft.py").write_text("raise ImportError('needs a newer transformers')")
    done = run("--small", "--out", str(tmp_path / "gpu.json"), path=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: this Python cannot import peft (needs a newer transformers), ruamel.yaml; ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so_in_one_line():
    done = run()
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "PyTorch finds no GPU here; --small --out FILE tries all of it on the CPU" in done.stderr


def test_a_measurement_that_fails_is_told_and_the_others_go_on(tmp_path):
    line = gpu.Line("full", 8)
    shown = gpu.measure(line, tmp_path, torch.device("cpu"), gpu.SMALL, {})  # there is no checkpoint
    assert shown["error"].startswith("FileNotFoundError: ") and "\n" not in shown["error"]


def test_all_files_with_tests_for_a_gpu_are_run():
    takes_device = re.compile(r"def test_\w+\([^)]*\bdevice\b(?!:)")
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if takes_device.search(path.read_text()) and 'parametrize("device"' not in path.read_text()
    }
    assert found == set(gpu.TESTS)
