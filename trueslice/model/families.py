"""The families of checkpoints that are supported: one row for each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """What sets the checkpoints of a family apart.

    All have `vision_model` and `text_model`, which pool what they see into `pooler_output`, and a `logit_scale`.

    Attributes:
        projections: whether `visual_projection` and `text_projection` follow the towers.
        logit_bias: whether there is a `logit_bias`.
        padding: how captions are padded: to the `longest` of them, or to the model's `max_length`.
        attention_mask: whether the text tower is told which tokens are padding.
    """

    projections: bool = True
    logit_bias: bool = False
    padding: str = "longest"
    attention_mask: bool = True


# By the `model_type` in config.json. SigLIP 2 of a fixed resolution has the type siglip too.
FAMILIES = {
    "clip": Family(),
    # SigLIP was trained on captions of full length and reads their padding (Zhai et al. 2023).
    "siglip": Family(projections=False, logit_bias=True, padding="max_length", attention_mask=False),
    "vision-text-dual-encoder": Family(),
}
