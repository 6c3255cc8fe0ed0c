"""That the benchmark of speed measures what it says, ends in time, and says what it leaves out."""

import time

import pytest
import torch

from benchmarks import speed
from trueslice.checkpoints import drawn as builtin
from trueslice.train.precision import gains_by_bf16

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two scans a class and a checkpoint that takes no time."""
    path = tmp_path_factory.mktemp("speed")
    speed.draw_scans(path, per_class=2)
    builtin.build(path / "checkpoint", seed=0)
    return path


@pytest.fixture(autouse=True)
def steps_take_no_time(monkeypatch):
    monkeypatch.setattr("benchmarks.peers.SECONDS", 0)


@pytest.mark.parametrize("line", ["original 4", "trainer 4", "full 4", "projection 4", "blocks_1 4"])
def test_every_method_trains_and_is_timed_in_this_process(line, folder):
    row = speed.measure(line, folder, until=time.time() + 60)
    assert row["steps"] == speed.MIN_STEPS
    assert row["images_per_second"] > 0 and row["ceilings"]["float32"] > 0


def test_a_late_line_counts_the_steps_that_it_has(folder):
    assert speed.measure("full 4", folder, until=0)["steps"] == 1


def test_open_clip_trains_by_its_own_loop(folder):
    pytest.importorskip("open_clip_train")
    assert speed.measure("open_clip 2", folder, until=0)["steps"] == 1


def test_a_line_that_takes_too_long_is_ended_and_told(folder):
    row, reason = speed.in_process("full 4", str(folder), until=time.time(), lines=1)
    assert row == {} and "too slow" in reason


def test_without_bf16_its_lines_are_left_out_and_told(folder, monkeypatch):
    monkeypatch.setattr(speed, "gains_by_bf16", lambda device: False)
    monkeypatch.setattr(speed, "OTHERS", {})
    result = speed.measure_all(["trainer_bf16 32", "fp32 32", "original 8"], str(folder), until=time.time())
    assert [row["method"] for row in result["left_out"]] == ["trainer_bf16", "fp32", "original"]
    text = speed.tables(result)
    assert "Hugging Face Trainer, `bf16=True`, batch 32: bf16 is not faster than fp32 on this machine." in text
    assert speed.precisions(torch.device("cpu")) == ["float32"]


def test_what_was_measured_stands_in_a_table(folder):
    cpu = torch.device("cpu")
    row = {"method": "full", "batch": 4} | speed.measure("full 4", folder, until=0)
    ceilings = row["ceilings"] if gains_by_bf16(cpu) else {"float32": 1e11}
    count = {"full": speed.flops_per_image(folder, "full")}
    others = {"augmenting": speed.OTHERS["augmenting"](folder, cpu)}
    result = {"ceilings": ceilings, "flops_per_image": count, "lines": [row], "left_out": [], "others": others}
    text = speed.tables(result)
    assert f"| ours, `full` | fp32 | 4 | {row['images_per_second']:,.1f} | – |" in text
    assert f"| ours, flipped, turned, shifted and zoomed | {others['augmenting']:,.0f} |" in text
    assert "- Of few steps: ours, `full`, batch 4: 1." in text
