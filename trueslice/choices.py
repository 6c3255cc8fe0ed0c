"""What params.yaml chooses by name, and what each choice needs. Without PyTorch, so that params.py can import it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Loss:
    """What a loss needs of a batch; its formula is the function of the same name in train/losses.py.

    Attributes:
        caption_per_scan: whether each scan gets a caption of its own; without, each class gets one.
        logit_bias: whether it learns a bias of the logits, which not every checkpoint has.
        label_smoothing: whether its targets can be smoothed.
    """

    caption_per_scan: bool = False
    logit_bias: bool = False
    label_smoothing: bool = True


LOSSES = {
    "caption": Loss(),
    "multi_positive": Loss(caption_per_scan=True),
    "in_batch": Loss(caption_per_scan=True),
    "sigmoid": Loss(caption_per_scan=True, logit_bias=True, label_smoothing=False),
}


@dataclass(frozen=True)
class Tuning:
    """Which parameters learn, and what is computed only once because it depends on none of them.

    Attributes:
        learns: regular expression for the start of the names of the parameters that learn.
        images: what a step starts from: augmented `pixels`, or cached `features` of the image tower.
        texts: what it starts from for captions: `tokens`, `features` of the text tower, or `embeddings`.
        lora: whether linear layers get low-rank additions (Hu et al. 2021, LoRA).
        layer_decay: whether there are layers to which train.layer_decay applies.
    """

    learns: str
    images: str = "pixels"
    texts: str = "tokens"
    lora: bool = False
    layer_decay: bool = True


TUNING = {
    "full": Tuning(learns=""),
    "vision": Tuning(learns=r"vision_model\.|visual_projection\.|logit_", texts="embeddings"),
    "projection": Tuning(
        learns=r"visual_projection\.|text_projection\.|logit_", images="features", texts="features", layer_decay=False
    ),
    "lora": Tuning(learns=r".*\.lora_", lora=True, layer_decay=False),
}
