"""A small checkpoint with random weights of each supported family, as its users have it on the disk."""

from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
    VisionTextDualEncoderProcessor,
    ViTConfig,
)

from trueslice.checkpoints import drawn as builtin

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def clip_with_another_activation(folder: Path) -> None:
    """As PubMedCLIP and MetaCLIP: CLIP's own classes with other sizes, and GELU in place of its approximation."""
    builtin.build(folder, seed=0)
    processor = CLIPProcessor.from_pretrained(folder)
    vocabulary = len(processor.tokenizer)
    text = SMALL | {"vocab_size": vocabulary, "max_position_embeddings": 40, "hidden_act": "gelu"}
    ends = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 1}
    vision = SMALL | {"image_size": 64, "patch_size": 16, "hidden_act": "gelu"}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text | ends, vision_config=vision, projection_dim=24)).save_pretrained(folder)


def siglip(folder: Path) -> None:
    """As SigLIP and SigLIP 2 of a fixed resolution: no projections, a logit bias, captions of one length."""
    builtin.build(folder / "clip", seed=0)
    tokenizer = CLIPProcessor.from_pretrained(folder / "clip").tokenizer
    tokenizer.model_max_length = 16
    config = SiglipConfig(
        text_config=SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 16, "projection_size": 32},
        vision_config=SMALL | {"image_size": 64, "patch_size": 16},
    )
    torch.manual_seed(0)
    model = SiglipModel(config)
    with torch.no_grad():
        model.logit_scale.fill_(4.7)  # exp(4.7) = 110, as in the published weights: above CLIP's limit of 100
        model.logit_bias.fill_(-10.0)
    model.save_pretrained(folder)
    images = SiglipImageProcessor(size={"height": 64, "width": 64})
    SiglipProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)


def dual_with_bert(folder: Path) -> None:
    """As BiomedCLIP-like pairs: a plain ViT beside a BERT, which has dropout."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        ViTConfig(**SMALL, image_size=64, patch_size=16), BertConfig(**SMALL, vocab_size=len(words)), projection_dim=24
    )
    torch.manual_seed(0)
    VisionTextDualEncoderModel(config).save_pretrained(folder)
    images = SiglipImageProcessor(size={"height": 64, "width": 64})
    VisionTextDualEncoderProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)


FAMILIES = {
    "tiny": lambda folder: builtin.build(folder, seed=0),
    "tiny_conv": lambda folder: builtin.build_convolutional(folder, seed=0),
    "clip": clip_with_another_activation,
    "siglip": siglip,
    "dual": dual_with_bert,
    "lite": lambda folder: builtin.build_lite(folder, seed=0),
}
