"""The device on which PyTorch computes."""

import os
from contextlib import suppress
from pathlib import Path

from trueslice.errors import ParamsError


def pick_device(name: str, key: str) -> str:
    """Return the device that parameter `key` names, as PyTorch spells it; `auto` is the first GPU, else the CPU.

    Raises:
        ParamsError: this machine has no such device.
    """
    if name == "cpu":
        return name
    import torch  # not for `cpu`: it takes seconds

    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    kind, _, index = name.partition(":")
    count = int(has_mps) if kind == "mps" else torch.cuda.device_count()
    if int(index or 0) >= count:
        found = count or "none"
        raise ParamsError(f"{key} is {name!r}, but PyTorch finds {found} of that kind on this machine; use auto or cpu")
    return name


def repeat_exactly() -> None:
    """Make PyTorch use deterministic algorithms where it has them; call it before a GPU is used."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs for it
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Nothing here reads memory that was never written, so filling it first only takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False


def to_device(values, device):
    """Copy a small tensor from the CPU to a torch.device, without waiting for the work of a GPU."""
    return values.to(device, non_blocking=device.type == "cuda")


def device_name(device) -> str:
    """Return the name of the GPU, or that of the CPU with the number of threads that PyTorch uses."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpu_name()}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def _cpu_name() -> str:
    """Return the name that Linux gives the CPU, or `CPU`."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return "CPU"
