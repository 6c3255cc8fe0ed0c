import torch

from tumorclip.train.precision import uses_bf16

CPU = torch.device("cpu")


def test_auto_takes_bf16_on_a_cpu_only_if_that_pays(encoder):
    fast = torch.cpu.get_capabilities().get("avx512_bf16", False)
    assert not uses_bf16("auto", encoder.model, CPU)
    assert uses_bf16("auto", torch.nn.Linear(1000, 1000), CPU) == fast


def test_what_is_asked_for_is_taken(encoder):
    assert uses_bf16("bf16", encoder.model, CPU)
    assert not uses_bf16("fp32", torch.nn.Linear(1000, 1000), CPU)
