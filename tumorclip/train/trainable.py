"""What of the model is tuned, and how its weights are averaged and interpolated."""

import re

import torch
from torch import nn

from tumorclip.errors import UserError
from tumorclip.model.encoder import Encoder

Weights = dict[str, torch.Tensor]
TOWERS = ("vision_model", "text_model")


def choose(encoder: Encoder, tune: str, objective: str, lora: dict) -> None:
    """Let exactly those parameters of the encoder's model learn that `tune` names.

    Args:
        tune: `full`, both towers; `vision`, the image tower with its projection; `projection`, both
            projections; `lora`, low-rank additions to linear layers (Hu et al. 2021), put in here.
            The logit scale learns in all but `lora`; the logit bias only where the loss sees it.
        lora: rank, alpha and targets, the names of the layers that get an addition.

    Raises:
        UserError: this model has no such parts.
    """
    model = encoder.model
    if objective == "sigmoid" and not hasattr(model, "logit_bias"):
        raise UserError("train.objective is sigmoid, but this checkpoint has no logit bias; only SigLIP ones have")
    if tune == "projection" and not encoder.has_projections:
        raise UserError("train.tune is projection, but this checkpoint has no projections; take vision, lora or full")
    if tune == "lora":
        _add_lora(model, lora)
        return
    learning = {
        "full": ("",),
        "vision": ("vision_model.", "visual_projection.", "logit_"),
        "projection": ("visual_projection.", "text_projection.", "logit_"),
    }[tune]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(learning) and (name != "logit_bias" or objective == "sigmoid"))


def _add_lora(model: nn.Module, lora: dict) -> None:
    from peft import LoraConfig, get_peft_model

    linear = {
        tower: {name.rsplit(".", 1)[-1] for name, module in part.named_modules() if isinstance(module, nn.Linear)}
        for tower, part in ((tower, model.get_submodule(tower)) for tower in TOWERS)
    }
    unknown = sorted(set(lora["targets"]) - linear["vision_model"] - linear["text_model"])
    if unknown or not linear["vision_model"] & set(lora["targets"]):
        image_layers, text_layers = (", ".join(sorted(linear[tower])) for tower in TOWERS)
        raise UserError(
            f"train.lora.targets is {', '.join(lora['targets'])}, but in this checkpoint the linear layers of the "
            f"image tower are called {image_layers}, those of the text tower {text_layers}"
        )
    # In place: the wrapper that this returns is needed again only to merge.
    get_peft_model(model, LoraConfig(r=lora["rank"], lora_alpha=lora["alpha"], target_modules=sorted(lora["targets"])))


def merge(model: nn.Module) -> None:
    """Work LoRA's additions into the layers that they were put into; without any, nothing happens."""
    for name, module in list(model.named_modules()):
        if hasattr(module, "lora_A") and hasattr(module, "merge"):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
    model.requires_grad_(False)


def parameter_groups(model: nn.Module, learning_rate: float, weight_decay: float, layer_decay: float) -> list[dict]:
    """The learning parameters, as AdamW takes them; `peak` is the highest learning rate of a group.

    A layer that is d layers below the top of its tower learns at layer_decay ** d of `learning_rate` (Clark et al.
    2020, ELECTRA; Dong et al. 2022 for CLIP); projections, final norms and the logit scale are the top. Weight decay
    is for matrices: biases, norms and the logit scale have no direction to shrink.
    """
    tops = {tower: 1 + max((layer_of(name) for name, _ in _of(model, tower)), default=0) for tower in TOWERS}
    groups: dict[tuple, dict] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        tower = name.split(".", 1)[0]
        below = tops[tower] - layer_of(name) if tower in TOWERS and layer_of(name) >= 0 else 0
        decay = weight_decay if parameter.ndim >= 2 else 0.0
        peak = learning_rate * layer_decay**below
        group = groups.setdefault((below, decay), {"params": [], "weight_decay": decay, "lr": peak, "peak": peak})
        group["params"].append(parameter)
    return list(groups.values())


def layer_of(name: str) -> int:
    """How far up its tower a parameter stands: 0 for embeddings, 1 for the first layer; -1 above all layers."""
    if found := re.search(r"\.(?:layers?|stages|blocks)\.(\d+)\.", name):
        return 1 + int(found[1])
    return 0 if "embeddings." in name else -1


def _of(model: nn.Module, tower: str):
    return [(name, parameter) for name, parameter in model.named_parameters() if name.startswith(f"{tower}.")]


def learning_weights(model: nn.Module) -> Weights:
    """The parameters that learn, by name: the model's own tensors, not copies."""
    return {name: parameter.data for name, parameter in model.named_parameters() if parameter.requires_grad}


def copied(weights: Weights) -> Weights:
    return {name: value.clone() for name, value in weights.items()}


@torch.no_grad()
def put(weights: Weights, into: Weights) -> None:
    """Overwrite the tensors of `into` with those of `weights`."""
    for name, value in into.items():
        value.copy_(weights[name])


def average(mean: Weights, weights: Weights, decay: float, step: int) -> None:
    """Move `mean` towards `weights`: mean = d mean + (1 - d) weights, with d = min(decay, (1 + step) / (10 + step)).

    The exponential moving average of Polyak & Juditsky 1992; d starts low, so that the first steps are forgotten.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(mean.values()), [weights[name] for name in mean], share)


def interpolate(before: Weights, after: Weights, alpha: float, into: Weights) -> None:
    """into = (1 - alpha) before + alpha after: WiSE-FT (Wortsman et al. 2022, equation 1)."""
    put({name: torch.lerp(before[name], after[name], alpha) for name in into}, into)
