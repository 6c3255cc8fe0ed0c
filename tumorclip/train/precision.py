"""In which precision a step computes. Weights stay float32."""

import torch
from torch import nn

from tumorclip.model.cpu import LARGE


def uses_bf16(precision: str, model: nn.Module, device: torch.device) -> bool:
    """Whether `precision`, as in params.yaml, means bf16 for this model on this device."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cpu":
        # Without the instructions bf16 is slower than fp32. A small model gains nothing from it.
        large = sum(parameter.numel() for parameter in model.parameters()) >= LARGE
        return large and torch.cpu.get_capabilities().get("avx512_bf16", False)
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
