"""What a released model holds beside its weights."""

from typing import NamedTuple

import numpy as np

from tumorclip.evaluate.confidence import error_rates
from tumorclip.inference import unlike
from tumorclip.inference.reference import Reference
from tumorclip.model.encoder import Encoder
from tumorclip.params import Params
from tumorclip.tables import KnownScans, Predictions, Splits


class Released(NamedTuple):
    """What is laid beside the weights."""

    reference: Reference
    settings: dict  # what tumorclip.json holds on top of the trained model's


def release(encoder: Encoder, pixels: np.ndarray, splits: Splits, predictions: Predictions, params: Params) -> Released:
    """Gather the known scans, and what validation and test scans say about answers.

    Args:
        encoder: the trained one.
        pixels: of all N scans, uint8 [N, S, S] or [N, S, S, 3]; may be memory-mapped.
        splits: of all N scans.
        predictions: of the test scans.
    """
    rows = np.flatnonzero(splits.split != "dropped")
    known = splits.take(rows)
    scans = KnownScans(known.path, known.class_name, known.split, known.unit)
    reference = Reference.make(scans, encoder, pixels, rows)
    settings = {
        "decode": params.verify.model_dump(include={"image_size", "colour", "max_pixels"}),
        "copy_threshold": params.verify.copy_threshold,
        "unlike": unlike.measure(encoder, reference, pixels[rows[known.split == "test"]]),
        "confidence": error_rates(predictions),
    }
    return Released(reference, settings)
