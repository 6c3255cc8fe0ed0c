"""The precision in which a step computes, and the operations that are fast in it; weights stay float32."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from trueslice.model.cpu import LARGE


def uses_bf16(precision: str, model: nn.Module, device: torch.device) -> bool:
    """Return True if `precision`, as in params.yaml, means bf16 for this model on this device."""
    if precision != "auto":
        return precision == "bf16"
    if device.type != "cpu" or not gains_by_bf16(device):
        return gains_by_bf16(device)
    # On a CPU, neither a small model nor depthwise convolutions gain by it.
    depthwise = any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in model.modules())
    return sum(parameter.numel() for parameter in model.parameters()) >= LARGE and not depthwise


def gains_by_bf16(device: torch.device) -> bool:
    """Return True if the device multiplies matrices faster in bf16 than in fp32."""
    if device.type == "cpu":
        # The environment may limit a CPU to AVX2.
        limited = torch.backends.cpu.get_cpu_capability() in ("AVX2", "DEFAULT")
        return not limited and cpu_gains_by_bf16(torch.cpu.get_capabilities())
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def cpu_gains_by_bf16(capabilities: Mapping) -> bool:
    """Return True if a CPU of these `torch.cpu.get_capabilities` is faster in bf16 than in fp32.

    By AVX-512 alone AMD's are twice as fast in bf16. Intel's are half as fast: its instruction takes four times as long
    as that for fp32, for twice as many numbers. Virtual machines may hide AMX; benchmarks/README.md has measurements.
    """
    fast = "amx_bf16" if "Intel" in capabilities.get("cpu_name", "") else "avx512_bf16"
    return capabilities.get(fast, False)


class PatchEmbedding(nn.Conv2d):
    """Convolution of patches that do not overlap, as one matrix product: its gradient is slow in bf16 on a CPU."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embed pixels [B, 3, H, W]: [B, C, H / P, W / P], for patches of P x P pixels."""
        patches = functional.unfold(pixels, self.kernel_size, stride=self.stride)
        embedded = functional.linear(patches.transpose(1, 2), self.weight.flatten(1), self.bias)
        return embedded.transpose(1, 2).unflatten(2, (pixels.shape[2] // self.stride[0], -1))


def use_fast_operations(model: nn.Module) -> None:
    """Make a model compute the same by operations that are faster in bf16 on a CPU.

    PyTorch's fused attention is for long sequences. Its gradient for the 50 tokens of ViT-B/32 takes four times as long
    as that of plain matrix products, and for 577 tokens 1.7 times.
    """
    model.set_attn_implementation("eager")
    for module in model.modules():
        if type(module) is nn.Conv2d and module.kernel_size == module.stride:
            module.__class__ = PatchEmbedding
