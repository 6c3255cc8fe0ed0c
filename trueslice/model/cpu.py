"""With which instructions and threads a CPU computes."""

import os
from pathlib import Path

import torch

LARGE = 1_000_000  # parameters from which a model gains from instructions and threads that only some CPUs have
SMALL_THREADS = 2
# For PyTorch, oneDNN and MKL, in this order.
SAME_INSTRUCTIONS = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}


def same_bytes_on_cpus(checkpoint: Path) -> None:
    """Make a small model give the same bytes on all x86 CPUs of one maker since AVX2, however many cores they have.

    PyTorch, oneDNN and MKL choose instructions by the CPU and divide sums among its cores, which changes the last bits.
    A small model gains little from either. To be called before anything is computed.
    """
    if sum(path.stat().st_size for path in checkpoint.glob("*.safetensors")) >= 4 * LARGE:
        return
    os.environ |= SAME_INSTRUCTIONS
    if "RANK" not in os.environ:  # processes that share the work have their threads from the launcher
        torch.set_num_threads(SMALL_THREADS)
