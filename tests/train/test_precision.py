import copy
import os
import subprocess
import sys

import pytest
import torch

from tests.families import FAMILIES
from trueslice.model.encoder import Encoder
from trueslice.train.precision import cpu_gains_by_bf16, gains_by_bf16, use_fast_operations, uses_bf16

CPU = torch.device("cpu")


def test_auto_takes_bf16_on_a_cpu_only_if_that_pays(encoder):
    assert not uses_bf16("auto", encoder.model, CPU)
    assert uses_bf16("auto", torch.nn.Linear(1000, 1000), CPU) == gains_by_bf16(CPU)


def test_auto_leaves_depthwise_convolutions_in_fp32_on_a_cpu(family):
    assert not uses_bf16("auto", family("lite").model, CPU)


@pytest.mark.parametrize(
    ("name", "instructions", "gains"),
    [
        ("AMD EPYC", {"avx512_bf16"}, True),
        ("AMD EPYC", set(), False),
        ("Intel Xeon", {"avx512_bf16", "amx_bf16"}, True),
        ("Intel Xeon", {"avx512_bf16"}, False),
    ],
)
def test_an_intel_cpu_gains_by_bf16_only_with_amx(name, instructions, gains):
    assert cpu_gains_by_bf16({"cpu_name": name} | dict.fromkeys(instructions, True)) == gains


def test_what_is_asked_for_is_taken(encoder):
    assert uses_bf16("bf16", encoder.model, CPU)
    assert not uses_bf16("fp32", torch.nn.Linear(1000, 1000), CPU)


@pytest.mark.slow
def test_a_cpu_held_to_older_instructions_has_no_bf16():
    call = "gains_by_bf16(torch.device('cpu'))"
    code = f"import torch; from trueslice.train.precision import gains_by_bf16; print({call})"
    held = os.environ | {"ATEN_CPU_CAPABILITY": "avx2"}
    found = subprocess.run([sys.executable, "-c", code], env=held, capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


@pytest.mark.parametrize("name", FAMILIES)
def test_fast_operations_give_the_same_embeddings_and_gradients(family, name):
    encoder = family(name)
    fast = Encoder(copy.deepcopy(encoder.model), encoder.preprocessing, CPU)
    use_fast_operations(fast.model)
    pixels = torch.randint(0, 256, (3, 1, encoder.image_size, encoder.image_size), dtype=torch.uint8)
    found = []
    for each in (encoder, fast):
        embeddings = torch.cat([each.encode_images(pixels), each.encode_classes([["a", "bc"], ["d"]])])
        embeddings.square().square().sum().backward()
        found.append([embeddings, *(p.grad for p in each.model.parameters() if p.grad is not None)])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
