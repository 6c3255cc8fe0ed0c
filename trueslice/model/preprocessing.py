"""Preparation of scans and captions for a checkpoint, read from its files.

The processors of transformers do the same, but importing them takes longer than loading a small model.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from trueslice.errors import UserError
from trueslice.files import read_json

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

        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            return cls(folder, _image_settings(folder), tokenizer)
        except Exception as error:  # tokenizers raises plain exceptions for a damaged file
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise UserError(f"the checkpoint in {folder} cannot be loaded: {reason}") from error

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


def _image_settings(folder: Path) -> dict[str, Any]:
    file = next(folder / name for name in IMAGES if (folder / name).exists() or name == IMAGES[-1])
    settings = read_json(file)
    settings = settings.get("image_processor", settings)
    for name in ("image_mean", "image_std"):
        if len(settings[name]) != 3:
            raise ValueError(f"{name} in {file.name} has not three values")
    return settings
