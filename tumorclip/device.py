"""Where to compute."""

from tumorclip.errors import ParamsError


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
