"""Supported families of checkpoints, one row for each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Differences of a family of checkpoints from others.

    All have `vision_model` and `text_model`, which pool their input into `pooler_output`, and a `logit_scale`.
    """

    projections: bool = True  # `visual_projection` and `text_projection` follow the towers
    logit_bias: bool = False  # there is a `logit_bias`
    pad_to_length: bool = False  # captions are padded to the longest input of the model, not to the longest caption
    attention_mask: bool = True  # the text tower gets a mask of the padding
    loads_quickly: bool = True  # its models need none of the packages that startup.py leaves out; timm does


# By the `model_type` in config.json. SigLIP 2 of a fixed resolution has the type siglip too.
FAMILIES = {
    "clip": Family(),
    # SigLIP was trained on captions of full length and reads their padding (Zhai et al. 2023).
    "siglip": Family(projections=False, logit_bias=True, pad_to_length=True, attention_mask=False),
    "vision-text-dual-encoder": Family(loads_quickly=False),
}
