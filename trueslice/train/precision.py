"""The precision in which a step computes; weights stay float32."""

import torch
from torch import nn

from trueslice.model.cpu import LARGE


def uses_bf16(precision: str, model: nn.Module, device: torch.device) -> bool:
    """Return True if `precision`, as in params.yaml, means bf16 for this model on this device."""
    if precision != "auto":
        return precision == "bf16"
    if device.type != "cpu" or not has_bf16(device):
        return has_bf16(device)
    # On a CPU, neither a small model nor depthwise convolutions gain by it.
    depthwise = any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in model.modules())
    return sum(parameter.numel() for parameter in model.parameters()) >= LARGE and not depthwise


def has_bf16(device: torch.device) -> bool:
    """Return True if the device has instructions for bf16; without them it is slower than fp32."""
    if device.type == "cpu":
        # The environment may limit a CPU to AVX2.
        limited = torch.backends.cpu.get_cpu_capability() in ("AVX2", "DEFAULT")
        return torch.cpu.get_capabilities().get("avx512_bf16", False) and not limited
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
