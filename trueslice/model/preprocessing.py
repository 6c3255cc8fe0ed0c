"""Preparation of scans and captions for a checkpoint, read from its files.

The processors of transformers do the same, but importing them takes longer than loading a small model.
"""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from trueslice.errors import UserError
from trueslice.files import read_json
from trueslice.startup import silence_transformers

# Files of a tokenizer of any kind: the first is a fast one, of the package tokenizers.
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")
SETTINGS = ("tokenizer_config.json", "merges.txt", "special_tokens_map.json", "added_tokens.json")
IMAGES = ("processor_config.json", "preprocessor_config.json")


@dataclass(frozen=True)
class Preprocessing:
    """Settings and tokenizer of a checkpoint."""

    folder: Path  # that they were read from
    images: dict[str, Any]  # settings of the image processor, as its JSON file has them
    tokenizer: Any  # of transformers

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read them from a directory of the stage `checkpoint` or `Encoder.save`; a UserError if it is damaged."""
        from transformers import AutoTokenizer

        silence_transformers()
        images = read_image_settings(folder)
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # tokenizers raises plain exceptions for a damaged file
            raise UserError(f"the tokenizer in {folder} is damaged; fetch the checkpoint again") from error
        return cls(folder, images, tokenizer)

    def tokenize(self, captions: list[str], length: int, pad_to_length: bool) -> dict[str, np.ndarray]:
        """Return `input_ids` and `attention_mask`, int64 [C, L] each, of captions cut off at `length` tokens.

        Captions are padded to the longest of them, or all to `length`.
        """
        padding = "max_length" if pad_to_length else "longest"
        rows = self.tokenizer(captions, padding=padding, truncation=True, max_length=length, return_attention_mask=True)
        return {name: np.array(rows[name], np.int64) for name in ("input_ids", "attention_mask")}

    def write(self, folder: Path) -> None:
        """Copy the files of image processor and tokenizer to `folder`."""
        for name in (*TOKENIZERS, *SETTINGS, *IMAGES):
            if (self.folder / name).exists():
                shutil.copyfile(self.folder / name, folder / name)


def read_image_settings(folder: Path) -> dict[str, Any]:
    """Read the settings of the image processor; a UserError if its means and deviations are not three numbers each."""
    path = next(folder / name for name in IMAGES if (folder / name).exists() or name == IMAGES[-1])
    settings = read_object(path)
    settings = settings.get("image_processor", settings)
    for name, lowest in (("image_mean", -math.inf), ("image_std", 0)):
        values = settings.get(name) if isinstance(settings, dict) else None
        numbers = [each for each in values if type(each) in (int, float)] if isinstance(values, list) else []
        if numbers != values or len(numbers) != 3 or not all(lowest < each < math.inf for each in numbers):
            raise UserError(f"{path}: {name} is {values!r:.60}; it must be three numbers, deviations above 0")
    factor = settings.get("rescale_factor")
    if factor is not None and (type(factor) not in (int, float) or not 0 < factor < math.inf):
        raise UserError(f"{path}: rescale_factor is {factor!r:.60}; it must be a number above 0")
    return settings


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file of a checkpoint; FileNotFoundError without its folder, UserError if it holds no object."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        if not path.parent.exists():
            raise
        raise UserError(f"{path} is missing; the checkpoint is incomplete") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path} is no JSON object, so it is damaged; fetch the checkpoint again")
    return content
