"""Weights by name: clones, the moving average, and interpolation."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

Weights = dict[str, torch.Tensor]


def trainable_weights(model: nn.Module) -> Weights:
    """Return the parameters that learn: the model's own tensors, not copies."""
    return {name: parameter.data for name, parameter in model.named_parameters() if parameter.requires_grad}


def clone(weights: Weights) -> Weights:
    """Return copies on the same device."""
    return {name: value.clone() for name, value in weights.items()}


@torch.no_grad()
def copy_into(target: Weights, source: Weights) -> None:
    """Overwrite the tensors of `target` with those of `source`."""
    for name, value in target.items():
        value.copy_(source[name])


@contextlib.contextmanager
def swapped(weights: Weights, values: Weights | None) -> Iterator[None]:
    """Give the tensors of `weights` other `values` within the block; None keeps their own."""
    if values is None:
        yield
        return
    own = clone(weights)
    copy_into(weights, values)
    yield
    copy_into(weights, own)


# torch's AveragedModel would copy the frozen towers too, start from the first step instead of from the checkpoint,
# and count its steps on the device, where a decay that warms up has to wait for the count.
def average(mean: Weights, weights: Weights, decay: float, step: int) -> None:
    """Update a moving average: mean = d mean + (1 - d) weights, with d = min(decay, (1 + step) / (10 + step))."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(mean.values()), [weights[name] for name in mean], share)


def interpolate(target: Weights, before: Weights, after: Weights, alpha: float) -> None:
    """Set target = (1 - alpha) before + alpha after, as WiSE-FT does (Wortsman et al. 2022, equation 1)."""
    floating = {name: value for name, value in target.items() if value.is_floating_point()}  # no counters
    copy_into(floating, {name: torch.lerp(before[name], after[name], alpha) for name in floating})
