"""Parameters that learn, and the part of the model that a training step runs."""

import re
from collections.abc import Callable

import torch
from torch import nn

from trueslice.choices import LOSSES, TUNING
from trueslice.errors import UserError
from trueslice.model.encoder import Encoder
from trueslice.params import Lora, Train
from trueslice.train.blocks import SplitTower

TOWERS = ("vision_model", "text_model")


def make_trainable(encoder: Encoder, config: Train) -> nn.Module | None:
    """Enable gradients for the parameters that `config.tune` names, and return the LoRA model; None without LoRA.

    Raises:
        UserError: the checkpoint lacks the parts that the loss or the tuning mode needs.
    """
    loss, tuning, family = LOSSES[config.objective], TUNING[config.tune], encoder.family
    if loss.logit_bias and not family.logit_bias:
        it = f"train.objective is {config.objective}"
        raise UserError(f"{it}, but this checkpoint has no logit bias; only SigLIP ones have")
    if tuning.images == "features" and not family.projections:
        it = f"train.tune is {config.tune}"
        raise UserError(f"{it}, but this checkpoint has no projections; take blocks, vision, lora or full")
    frozen = SplitTower(encoder, config.blocks).frozen if tuning.images == "states" else -1
    lora = _add_lora(encoder.model, config.lora) if tuning.lora else None
    for name, parameter in encoder.model.named_parameters():
        below = name.startswith("vision_model.") and 0 <= layer_of(name) <= frozen
        learns = re.match(tuning.learns, name) and not below and (loss.logit_bias or name != "logit_bias")
        parameter.requires_grad_(bool(learns))
    return lora


def _add_lora(model: nn.Module, lora: Lora) -> nn.Module:
    # peft expects that transformers has imported it.
    import torch.distributed.tensor  # noqa: F401
    from peft import LoraConfig, get_peft_model

    targets = set(lora.targets)
    vision, text = (_linear_layers(model.get_submodule(tower)) for tower in TOWERS)
    if not vision:
        problem = "the image tower of this checkpoint has no linear layers; take full, vision, blocks or projection"
        raise UserError(f"train.tune is lora, but {problem}")
    if targets - vision.keys() - text.keys() or not targets & vision.keys():
        raise UserError(
            f"train.lora.targets is {', '.join(lora.targets)}, but in this checkpoint the linear layers of the image "
            f"tower are called {', '.join(sorted(vision))}, those of the text tower {', '.join(sorted(text))}"
        )
    highest = max(layers.get(name, 0) for layers in (vision, text) for name in targets)
    if lora.rank > highest:
        problem = f"no layer of train.lora.targets has a rank above {highest}"
        raise UserError(f"train.lora.rank is {lora.rank}, but {problem}; lower it")
    return get_peft_model(model, LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=sorted(targets)))


def _linear_layers(tower: nn.Module) -> dict[str, int]:
    """Return the names of the linear layers, each with the highest rank that its weights can have."""
    ranks: dict[str, int] = {}
    for name, module in tower.named_modules():
        if isinstance(module, nn.Linear):
            last = name.rsplit(".", 1)[-1]
            ranks[last] = max(ranks.get(last, 0), min(module.weight.shape))
    return ranks


def training_mode(model: nn.Module) -> None:
    """Switch dropout on, and leave batch normalisation with the statistics of the checkpoint.

    Changed by batches, they would differ between one device and several, and be lost where weights are averaged.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def image_parts(encoder: Encoder, config: Train) -> tuple[Callable | None, Callable]:
    """Return how to compute once, from scans, what no step changes, and how to embed what results, or else scans."""
    images = TUNING[config.tune].images
    if images == "states":
        tower = SplitTower(encoder, config.blocks)
        return tower.states, tower.encode
    return (encoder.image_features, encoder.project_images) if images == "features" else (None, encoder.encode_images)


class DualEncoder(nn.Module):
    """Forward pass of a training step as one module, for DistributedDataParallel and `torch.compile` to wrap."""

    def __init__(self, encoder: Encoder, config: Train, captions: list[str]):
        super().__init__()
        self.model = encoder.model
        self._encoder = encoder
        self._tuning = TUNING[config.tune]
        _, self._embed_images = image_parts(encoder, config)
        tokens = encoder.tokenize(captions)
        with torch.no_grad():
            if self._tuning.texts == "embeddings":
                self._texts = encoder.encode_tokens(tokens)
            elif self._tuning.texts == "features":
                self._texts = encoder.text_features(tokens)
            else:
                self._texts = tokens

    def forward(self, inputs: torch.Tensor, captions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Embed scans, as the second of `image_parts` takes them, and captions, int64 [C].

        Return unit embeddings, [B, D] and [C, D], and the logit scale and bias, scalars.
        """
        encoder = self._encoder
        images = self._embed_images(inputs)
        if self._tuning.texts == "embeddings":
            texts = self._texts[captions]
        elif self._tuning.texts == "features":
            texts = encoder.project_texts(self._texts[captions])
        else:
            texts = encoder.encode_tokens({name: values[captions] for name, values in self._texts.items()})
        return images, texts, encoder.logit_scale, encoder.logit_bias


def parameter_groups(model: nn.Module, config: Train) -> list[dict]:
    """Return the parameters that learn in groups for AdamW; `peak` is the highest learning rate of a group.

    A layer that is d layers below the top of its tower learns at layer_decay ** d of the learning rate (Clark et al.
    2020, ELECTRA; Dong et al. 2022 for CLIP). Projections, final norms and the logit scale are the top.
    Weight decay is for matrices: biases, norms and the logit scale have no direction to shrink.
    """
    names = [name for name, _ in model.named_parameters()]
    tops = {tower: 1 + max(layer_of(name) for name in names if name.startswith(f"{tower}.")) for tower in TOWERS}
    groups: dict[tuple, dict] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        tower = name.split(".", 1)[0]
        layer = layer_of(name)
        below = tops[tower] - layer if tower in TOWERS and layer >= 0 else 0
        decay = config.weight_decay if parameter.ndim >= 2 else 0.0
        peak = config.learning_rate * config.layer_decay**below
        group = groups.setdefault((below, decay), {"params": [], "weight_decay": decay, "lr": peak, "peak": peak})
        group["params"].append(parameter)
    return list(groups.values())


def layer_of(name: str) -> int:
    """Return the layer of a parameter in its tower: 0 for embeddings, 1 for the first layer, -1 above all layers."""
    if found := re.search(r"\.(?:layers?|stages|blocks)\.(\d+)\.", name):
        return 1 + int(found[1])
    return 0 if re.search(r"embeddings\.|\.pre_layrnorm\.|\.conv_stem\.|\.timm_model\.bn1\.", name) else -1
