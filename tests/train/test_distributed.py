"""Two processes that train together do what one alone does, at the same batch size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.families import FAMILIES
from tests.train.together import train
from trueslice.train.distributed import Processes

ROOT = Path(__file__).parents[2]
CASES = {
    "sigmoid": ("siglip", {"objective": "sigmoid"}),
    "vision": ("clip", {"tune": "vision", "objective": "multi_positive"}),
    "convolutions": ("tiny_conv", {}),
    "batch normalisation": ("lite", {}),
    "projection": ("clip", {"tune": "projection", "captions": "mean"}),
    "blocks": ("clip", {"tune": "blocks"}),
    "lora": ("clip", {"tune": "lora"}),
    "parts of unequal sizes": ("clip", {"batch_size": 13, "accumulation": 3, "objective": "in_batch"}),
    "everything else": (
        "clip",
        {"balance": "weights", "ema": 0.9, "wise_ft": True, "max_gradient_norm": 0.5, "layer_decay": 0.7}
        | {"label_smoothing": 0.1, "patience": 2, "epochs": 3},
    ),
}


@pytest.fixture(scope="module")
def todo(tmp_path_factory) -> list:
    folder, todo = tmp_path_factory.mktemp("families"), []
    for name, changes in CASES.values():
        if not (folder / name).exists():
            FAMILIES[name](folder / name)
        # So low and so precise that all losses stay well above rounding errors, which Adam would otherwise blow up.
        todo.append((str(folder / name), {"learning_rate": 3e-5, "precision": "fp32", "epochs": 1} | changes))
    return todo


@pytest.fixture(scope="module")
def together(todo, tmp_path_factory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("together")
    (folder / "todo.json").write_text(json.dumps(todo))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "tests.train.together", folder / "todo.json", folder / "results.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(CASES, json.loads((folder / "results.json").read_text()), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_do_what_one_does(todo, together, tmp_path, case):
    checkpoint, changes = todo[list(CASES).index(case)]
    alone = train(checkpoint, changes, Processes(torch.device("cpu")), tmp_path / "features/alone")
    two = together[case]
    assert [s["loss"] for s in two["steps"]] == pytest.approx([s["loss"] for s in alone["steps"]], rel=2e-4, abs=1e-4)
    assert two["best_epoch"] == alone["best_epoch"] and two["wise_ft_alpha"] == alone["wise_ft_alpha"]
    for one, other in zip(two["epochs"], alone["epochs"], strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-5)


def test_alone_nothing_is_shared():
    processes, values = Processes(torch.device("cpu")), torch.randn(3, 2)
    assert processes.shard(values) is not None and torch.equal(processes.shard(values), values)
    assert processes.gather(values, 3) is values and processes.broadcast("this") == "this"


@pytest.mark.parametrize(("total", "count"), [(7, 3), (3, 3), (1, 4), (8, 2)])
def test_shares_are_equally_long_and_hold_everything_in_order(total, count):
    processes, values = Processes(torch.device("cpu")), torch.arange(total)
    processes.count = count
    shares = []
    for processes.rank in range(count):
        shares.append(processes.shard(values))
    assert len({len(share) for share in shares}) == 1
    assert torch.equal(torch.cat(shares)[:total], values)
