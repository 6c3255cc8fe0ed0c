"""Where to compute, and with which instructions."""

import os
from pathlib import Path

from tumorclip.errors import ParamsError

LARGE = 1_000_000  # parameters from which a model gains from instructions and threads that only some CPUs have
SMALL_THREADS = 2
# For PyTorch, oneDNN and MKL, in this order.
SAME_INSTRUCTIONS = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}


def pick_device(name: str, key: str) -> str:
    """The device called `name`, as PyTorch writes it; `auto` is the first GPU, else the CPU.

    For `cpu` PyTorch is not imported.

    Args:
        name: auto, cpu, cuda, cuda:N or mps, as params.py has checked it.
        key: the parameter that it stands under, for the message.

    Raises:
        ParamsError: this machine has no such device.
    """
    if name == "cpu":
        return name
    import torch

    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    kind, _, index = name.partition(":")
    count = int(has_mps) if kind == "mps" else torch.cuda.device_count()
    if int(index or 0) >= count:
        found = f"{count} of that kind" if count else "none of that kind"
        raise ParamsError(f"{key} is {name!r}, but PyTorch finds {found} on this machine; use auto or cpu")
    return name


def same_bytes_on_cpus(checkpoint: Path) -> None:
    """Have a small model give the same bytes on all x86 CPUs of one maker since AVX2, however many cores they have.

    PyTorch, oneDNN and MKL choose instructions by the CPU and divide sums among its cores, and both change the last
    bits. A small model gains little from either, so it does without; a model of 1,000,000 parameters or more is left
    alone. MKL tells AMD from Intel even so: docs/results.md says what else was tried.

    To be called before anything is computed; what stands in the environment already is replaced.

    Args:
        checkpoint: a Hugging Face directory.
    """
    import torch

    if sum(path.stat().st_size for path in checkpoint.glob("*.safetensors")) >= 4 * LARGE:
        return
    os.environ |= SAME_INSTRUCTIONS
    if "RANK" not in os.environ:  # processes that share the work have their threads from the launcher
        torch.set_num_threads(SMALL_THREADS)
