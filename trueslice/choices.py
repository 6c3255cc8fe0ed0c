"""Losses and tuning modes that params.yaml names, and what each needs. Imports no PyTorch: params.py imports it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Loss:
    """Requirements of a loss; its formula is the function of the same name in train/losses.py."""

    caption_per_scan: bool = False  # each scan gets its own caption, and not each class one
    logit_bias: bool = False  # it learns a bias of the logits, which not every checkpoint has
    label_smoothing: bool = True  # its targets can be smoothed


LOSSES = {
    "caption": Loss(),
    "multi_positive": Loss(caption_per_scan=True),
    "in_batch": Loss(caption_per_scan=True),
    "sigmoid": Loss(caption_per_scan=True, logit_bias=True, label_smoothing=False),
}


@dataclass(frozen=True)
class Tuning:
    """Parameters that learn, and the parts that are computed once because they depend on none of them."""

    learns: str  # regular expression for the start of the names of the parameters that learn
    images: str = "pixels"  # input of a step for scans: `pixels`, or cached `states` or `features` of the image tower
    texts: str = "tokens"  # input of a step for captions: `tokens`, `features` of the text tower, or `embeddings`
    lora: bool = False  # linear layers get low-rank additions (Hu et al. 2021, LoRA)
    layer_decay: bool = True  # train.layer_decay applies


TUNING = {
    "full": Tuning(learns=""),
    "vision": Tuning(learns=r"vision_model\.|visual_projection\.|logit_", texts="embeddings"),
    # Of the image tower only the last blocks, and what follows them.
    "blocks": Tuning(learns=r"vision_model\.|visual_projection\.|logit_", images="states", texts="embeddings"),
    "projection": Tuning(
        learns=r"visual_projection\.|text_projection\.|logit_", images="features", texts="features", layer_decay=False
    ),
    "lora": Tuning(learns=r".*\.lora_", lora=True, layer_decay=False),
}
