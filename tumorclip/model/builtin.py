"""Complete small dual encoders built on the spot, so that the whole pipeline runs without any download."""

import math
from pathlib import Path

IMAGE_SIZE = 64
PATCH_SIZE = 8
CONVOLUTIONAL_IMAGE_SIZE = 96
MAX_TOKENS = 128


def build(into: Path, seed: int) -> None:
    """Write a CLIP with seeded random weights into the folder `into`, as a Hugging Face directory.

    The vision tower is a ViT of 0.6 M parameters on 64 x 64 pixels in patches of 8; the text tower
    has 0.1 M and reads bytes. It knows nothing yet: unlike a pretrained checkpoint it learns
    images and captions from the training scans alone.

    Weights are drawn as CLIP draws them, and then changed so that a few hundred steps are enough
    to learn something: see `_spread`.
    """
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor

    vision = {
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH_SIZE,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(CLIPConfig(projection_dim=64, vision_config=vision, text_config=_text_config()))
    _spread(model)
    _write(model, CLIPProcessor(image_processor=_image_processor(IMAGE_SIZE), tokenizer=_tokenizer()), into)


def build_convolutional(into: Path, seed: int) -> None:
    """Write a dual encoder with a convolutional image tower and seeded random weights into the folder `into`.

    The image tower is a ConvNeXt (Liu et al. 2022, "A ConvNet for the 2020s") of 1.0 M parameters on
    96 x 96 pixels; the text tower is that of `build`. It has no batch normalisation, so that it trains
    alike on one device and on several.

    Weights start with the variance 1 / fan-in (LeCun et al. 1998, "Efficient BackProp") instead of one
    that is the same for all layers, which a few thousand steps do not get over at this size.
    """
    import torch
    from transformers import (
        CLIPTextConfig,
        ConvNextConfig,
        VisionTextDualEncoderConfig,
        VisionTextDualEncoderModel,
        VisionTextDualEncoderProcessor,
    )

    vision = ConvNextConfig(
        image_size=CONVOLUTIONAL_IMAGE_SIZE,
        hidden_sizes=[32, 64, 128, 256],
        depths=[1, 1, 2, 1],
        layer_scale_init_value=0.1,
    )
    vision.hidden_size = vision.hidden_sizes[-1]  # what the dual encoder projects from
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        vision, CLIPTextConfig(**_text_config()), projection_dim=64
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VisionTextDualEncoderModel(config)
    _spread_text(model)
    with torch.no_grad():
        for weight in model.vision_model.parameters():
            if weight.ndim > 1:
                weight.mul_(weight[0].numel() ** -0.5 / weight.std())
    images = _image_processor(CONVOLUTIONAL_IMAGE_SIZE)
    _write(model, VisionTextDualEncoderProcessor(image_processor=images, tokenizer=_tokenizer()), into)


BUILDERS = {"tiny": build, "tiny_conv": build_convolutional}


def _write(model, processor, into: Path) -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()
    model.save_pretrained(into)
    processor.save_pretrained(into)


def _tokenizer():
    from transformers import CLIPTokenizer

    return CLIPTokenizer(vocab=_byte_vocabulary(), merges=[], model_max_length=MAX_TOKENS)


def _image_processor(side: int):
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def _text_config() -> dict:
    vocabulary = _byte_vocabulary()
    return {
        "vocab_size": len(vocabulary),
        "max_position_embeddings": MAX_TOKENS,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "bos_token_id": vocabulary["<|startoftext|>"],
        "eos_token_id": vocabulary["<|endoftext|>"],
        "pad_token_id": vocabulary["<|endoftext|>"],
    }


def _spread(model) -> None:
    """Let scans and captions lie apart from the start.

    As CLIP draws its weights, a small tower gives all scans practically the same embedding, and all
    captions too: the end token and the class token outweigh what they look at. Then the losses first
    pull the classes together, and some thousand steps pass before they part. So what attention brings
    in weighs more, places are told apart by sines and cosines, as in Beyer et al. 2022 ("Better plain
    ViT baselines for ImageNet-1k"), and the logit scale starts higher.
    """
    import torch

    _spread_text(model)
    with torch.no_grad():
        _strengthen(model.vision_model, 5.0)
        places = model.vision_model.embeddings.position_embedding.weight
        places[1:] = 0.25 * _sines_and_cosines(IMAGE_SIZE // PATCH_SIZE, places.shape[1])


def _spread_text(model) -> None:
    """The captions' part of `_spread`."""
    import torch

    with torch.no_grad():
        _strengthen(model.text_model, 3.0)
        model.text_model.embeddings.token_embedding.weight.mul_(3.0)
        model.logit_scale.fill_(math.log(30.0))


def _strengthen(tower, factor: float) -> None:
    """Have attention bring in more."""
    for layer in tower.encoder.layers:
        layer.self_attn.v_proj.weight.mul_(factor)
        layer.self_attn.out_proj.weight.mul_(factor)


def _sines_and_cosines(side: int, width: int):
    """Positions in a grid of `side` x `side` patches, row by row: float32 [side * side, width], in [-1, 1]."""
    import torch

    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    frequencies = 100.0 ** -(torch.arange(width // 4) / (width // 4))
    angles = [place.flatten()[:, None] * frequencies for place in (columns, rows)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


def _byte_vocabulary() -> dict[str, int]:
    """CLIP's tokenizer without merges: every byte, every byte at the end of a word, two special tokens.

    The tokenizer writes a byte as a printable character: itself where it is printable, else one
    from 256 upwards (the byte-level alphabet of GPT-2; Radford et al. 2019).
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]
    tokens = alphabet + [character + "</w>" for character in alphabet] + ["<|startoftext|>", "<|endoftext|>"]
    # The end token must have the highest id: CLIP finds the end of a caption by it.
    return {token: place for place, token in enumerate(tokens)}
