"""A complete small CLIP built on the spot, so that the whole pipeline runs without any download."""

from pathlib import Path

IMAGE_SIZE = 64
MAX_TOKENS = 128


def build(into: Path, seed: int) -> None:
    """Write a CLIP with seeded random weights into the folder `into`, as a Hugging Face directory.

    The vision tower is a ViT of 1.0 M parameters on 64 x 64 pixels in patches of 8; the text tower
    has 0.1 M and reads bytes. It knows nothing yet: unlike a pretrained checkpoint it learns
    images and captions from the training scans alone.
    """
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()

    vocabulary = _byte_vocabulary()
    beginning, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=MAX_TOKENS)
    image_processor = CLIPImageProcessor(
        size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    )
    config = CLIPConfig(
        projection_dim=64,
        vision_config={
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
        },
        text_config={
            "vocab_size": len(vocabulary),
            "max_position_embeddings": MAX_TOKENS,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "bos_token_id": beginning,
            "eos_token_id": end,
            "pad_token_id": end,
        },
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config)
    model.save_pretrained(into)
    CLIPProcessor(image_processor=image_processor, tokenizer=tokenizer).save_pretrained(into)


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
