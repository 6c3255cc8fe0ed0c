"""Where to compute."""

from tumorclip.errors import ParamsError


def pick_device(name: str, key: str) -> str:
    """The device called `name`, as PyTorch writes it; `auto` is the first GPU, else the CPU.

    Only for `cpu` does it work without importing PyTorch.

    Args:
        name: auto, cpu, cuda, cuda:N or mps.
        key: the parameter that it stands under, for the message.

    Raises:
        ParamsError: this machine has no such device.
    """
    if name == "cpu":
        return name
    import torch

    mps = torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    kind, _, index = name.partition(":")
    count = {"cuda": torch.cuda.device_count(), "mps": int(mps)}[kind]
    if int(index or 0) >= count:
        found = f"{count} of that kind" if count else "none of that kind"
        raise ParamsError(f"{key} is {name!r}, but PyTorch finds {found} on this machine; use auto or cpu")
    return f"{kind}:{int(index)}" if index else kind
