"""Weights by name: copies, the moving average, and the way between two of them."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

Weights = dict[str, torch.Tensor]


def learning_weights(model: nn.Module) -> Weights:
    """The parameters that learn: the model's own tensors, not copies."""
    return {name: parameter.data for name, parameter in model.named_parameters() if parameter.requires_grad}


def copied(weights: Weights) -> Weights:
    """Copies on the same device."""
    return {name: value.clone() for name, value in weights.items()}


@torch.no_grad()
def put(weights: Weights, into: Weights) -> None:
    """Overwrite the tensors of `into` with those of `weights`."""
    for name, value in into.items():
        value.copy_(weights[name])


@contextlib.contextmanager
def replaced(weights: Weights, by: Weights | None) -> Iterator[None]:
    """Have the tensors of `weights` hold the values of `by` within the block; None leaves them."""
    if by is None:
        yield
        return
    own = copied(weights)
    put(by, into=weights)
    yield
    put(own, into=weights)


# torch's AveragedModel would copy the frozen towers too, start from the first step instead of from the checkpoint,
# and count its steps on the device, where a decay that warms up has to wait for the count.
def average(mean: Weights, weights: Weights, decay: float, step: int) -> None:
    """mean = d mean + (1 - d) weights, with d = min(decay, (1 + step) / (10 + step)): Polyak & Juditsky 1992.

    d starts low, so that the first steps are forgotten.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(mean.values()), [weights[name] for name in mean], share)


def interpolate(before: Weights, after: Weights, alpha: float, into: Weights) -> None:
    """into = (1 - alpha) before + alpha after: WiSE-FT (Wortsman et al. 2022, equation 1)."""
    learned = {name: value for name, value in into.items() if value.is_floating_point()}  # and not counts
    put({name: torch.lerp(before[name], after[name], alpha) for name in learned}, learned)
