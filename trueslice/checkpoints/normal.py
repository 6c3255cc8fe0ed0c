"""The one form in which all checkpoints are kept, wherever they come from."""

from pathlib import Path

from trueslice.errors import UserError
from trueslice.model.encoder import check, load_model, save_model
from trueslice.model.preprocessing import Preprocessing


def normalise(source: Path, into: Path) -> None:
    """Load a Hugging Face directory and write it to `into` as `Encoder.load` takes it.

    Weights become safetensors in float32, tokenizers fast ones where possible, and default settings are written out.

    Raises:
        UserError: the directory is incomplete or damaged, needs code of its own, or holds an unsupported family.
    """
    check(source)
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds for a damaged file
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"the checkpoint in {source} cannot be loaded: {reason}") from error
    model = load_model(source)  # only now: quickly imported, transformers would have no processors
    save_model(model, into)
    processor.save_pretrained(into)
    Preprocessing.read(into)
