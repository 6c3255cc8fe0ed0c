"""The one form in which all checkpoints are kept, wherever they come from."""

from pathlib import Path

import torch

from trueslice.errors import UserError
from trueslice.model.encoder import AGAIN, Encoder, check, load_model
from trueslice.model.preprocessing import Preprocessing, read_image_settings
from trueslice.startup import silence_transformers

SAME = 1e-5  # embeddings have unit length; equal ones differ by rounding


def normalise(source: Path, into: Path) -> None:
    """Load a Hugging Face directory and write it to `into` as `Encoder.load` takes it.

    Weights become safetensors in float32, tokenizers fast ones where possible, and default settings are written out.

    Raises:
        UserError: the directory is incomplete or damaged, needs code of its own, or holds an unsupported family.
    """
    check(source)
    read_image_settings(source)
    from transformers import AutoProcessor

    silence_transformers()
    try:
        processor = AutoProcessor.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds for a damaged file
        raise UserError(f"config.json, tokenizer or image processor in {source} is damaged; {AGAIN}") from error
    model = load_model(source)  # only now: quickly imported, transformers would have no processors
    model.save_pretrained(into)
    processor.save_pretrained(into)
    _try(Encoder(model, Preprocessing.read(into), torch.device("cpu")), source)


@torch.inference_mode()
def _try(encoder: Encoder, source: Path) -> None:
    """Embed two scans and two captions: what is wrong is found before training, whatever it is."""
    side = encoder.image_size
    try:
        scans = encoder.encode_images(torch.stack([torch.zeros(1, side, side), 255 * torch.eye(side)[None]]))
        captions = encoder.encode_classes([["a scan"], ["the other one"]])
    except Exception as error:  # transformers and torch raise many kinds
        raise UserError(f"the checkpoint in {source} cannot embed a scan or a caption; {AGAIN}") from error
    if not (scans.isfinite().all() and captions.isfinite().all()):
        raise UserError(f"the checkpoint in {source} embeds a scan or a caption as what is no number; {AGAIN}")
    for name, (one, other) in {"captions": captions, "scans": scans}.items():
        if (one - other).abs().max() < SAME:
            raise UserError(f"the checkpoint in {source} tells no {name} apart: their embeddings are equal; {AGAIN}")
