"""A quick start of processes that load a model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT_OUT = (
    *("accelerate", "scipy.optimize", "torch._dynamo", "torch.distributed.tensor"),
    *("torchvision", "triton"),
)
PROGRAM = """
import gc, json, sys
from pathlib import Path
from tempfile import TemporaryDirectory
from trueslice import startup
if sys.argv[2] == "quick":
    startup.quick_start()
from trueslice.model.encoder import Encoder
encoder = Encoder.load(Path(sys.argv[1]), "cpu")
with TemporaryDirectory() as saved:
    encoder.save(Path(saved))
found = {"modules": [name for name in %r if name in sys.modules], "hash": encoder.hash(["a tumour"])}
found["searches"] = gc.get_stats()[2]["collections"]
import torch
with torch.inference_mode():
    found["embeddings"] = encoder.encode_images(torch.arange(4096).view(1, 1, 64, 64) %% 255).tolist()
from trueslice import params
from trueslice.train.trainable import make_trainable
config = params.load(Path("params.yaml")).train.model_copy(update={"tune": "lora"})
found["lora"] = type(make_trainable(encoder, config)).__name__
found["compiled"] = torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item()
print(json.dumps(found))
"""


def load(folder: Path, way: str) -> dict:
    command = [sys.executable, "-c", PROGRAM % (LEFT_OUT,), folder, way]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="module")
def quick(tiny_folder) -> dict:
    return load(tiny_folder, "quick")


def test_a_model_loads_without_what_it_does_not_need(quick):
    assert quick["modules"] == []


def test_imports_do_not_go_through_all_objects_for_garbage(quick):
    assert quick["searches"] == 0


@pytest.mark.slow
def test_a_quick_start_changes_no_bit_and_leaves_lora_and_the_compiler_usable(tiny_folder, quick):
    slow = load(tiny_folder, "slow")
    assert "torchvision" in slow["modules"] and quick["lora"] == slow["lora"] == "PeftModel"
    assert quick["compiled"] == slow["compiled"] == 2
    assert (quick["hash"], quick["embeddings"]) == (slow["hash"], slow["embeddings"])
