"""An image tower in two: the blocks that learn, and what comes before them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from trueslice.errors import UserError
from trueslice.model.encoder import Encoder


@dataclass(frozen=True)
class Parts:
    """Parts of one kind of image tower; run one after the other they do what the whole does."""

    blocks: str  # name of the list of blocks: layers of a transformer, or stages of a convolutional tower
    pool: Callable  # of the tower and the output of the last block: the features
    embed: Callable = lambda tower, pixels: tower.embeddings(pixels)  # the input of the first block


# By the class of the tower.
PARTS = {
    "CLIPVisionModel": Parts(
        "encoder.layers",
        lambda tower, states: tower.post_layernorm(states[:, 0]),
        lambda tower, pixels: tower.pre_layrnorm(tower.embeddings(pixels)),
    ),
    "SiglipVisionModel": Parts("encoder.layers", lambda tower, states: tower.head(tower.post_layernorm(states))),
    "ViTModel": Parts("layers", lambda tower, states: tower.pooler(tower.layernorm(states))),
    "ConvNextModel": Parts("encoder.stages", lambda tower, states: tower.layernorm(states.mean([-2, -1]))),
    "EfficientNet": Parts(
        "blocks",
        lambda tower, states: tower.forward_head(tower.bn2(tower.conv_head(states))),
        lambda tower, pixels: tower.bn1(tower.conv_stem(pixels)),
    ),
}


class SplitTower:
    """The image tower of an encoder, split before the last `count` of its blocks.

    Raises:
        UserError: it has fewer blocks, or its blocks are not known.
    """

    def __init__(self, encoder: Encoder, count: int):
        self._encoder = encoder
        self._tower = getattr(encoder.model.vision_model, "timm_model", encoder.model.vision_model)
        kind, it = type(self._tower).__name__, "the image tower of this checkpoint"
        if kind not in PARTS:
            problem = f"{it} is of the kind {kind}, and blocks are known of {', '.join(PARTS)}"
            raise UserError(f"train.tune is blocks, but {problem}; take vision, lora or full")
        self._parts = PARTS[kind]
        self._blocks: Sequence[nn.Module] = self._tower.get_submodule(self._parts.blocks)
        self.frozen = len(self._blocks) - count  # number of blocks before the split
        if self.frozen < 0:
            raise UserError(f"train.blocks is {count}, but {it} has {len(self._blocks)} blocks; lower it")

    def states(self, pixels: torch.Tensor) -> torch.Tensor:
        """Run scans, as `Encoder.image_features` takes them, up to the split: [B, L, C], or maps [B, C, H, W]."""
        embedded = self._parts.embed(self._tower, self._encoder.normalise(pixels))
        return _run(self._blocks[: self.frozen], embedded)

    def features(self, states: torch.Tensor) -> torch.Tensor:
        """Run states from the split on, and pool them, as `Encoder.image_features` does: [B, F]."""
        return self._parts.pool(self._tower, _run(self._blocks[self.frozen :], states))

    def encode(self, states: torch.Tensor) -> torch.Tensor:
        """Embed scans from their states: float32 [B, D]."""
        return self._encoder.project_images(self.features(states))


def _run(blocks: Sequence[nn.Module], states: torch.Tensor) -> torch.Tensor:
    if states.ndim == 4:
        states = states.contiguous(memory_format=torch.channels_last)  # convolutions are faster so
    for block in blocks:
        states = block(states) if states.ndim == 4 else block(states, None)  # no mask of attention
    return states
