"""What a released model holds beside its weights."""

from typing import NamedTuple

import numpy as np

from trueslice.evaluate.confidence import error_rates
from trueslice.evaluate.intervals import SHARE, GroupBootstrap
from trueslice.inference import unlike
from trueslice.inference.reference import Comparison, Reference, small
from trueslice.model.encoder import Encoder
from trueslice.ood.pictures import pictures
from trueslice.params import Params
from trueslice.tables.known import KnownScans
from trueslice.tables.predictions import Predictions
from trueslice.tables.splits import Splits


class Released(NamedTuple):
    """What is laid beside the weights."""

    reference: Reference
    settings: dict  # what trueslice.json holds on top of the trained model's


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
    comparison = Comparison(reference, params.verify.copy_threshold)
    settings = {
        "drawn": params.data.source == "phantom",
        "decode": params.verify.model_dump(include={"image_size", "colour", "max_pixels"}),
        "copy_threshold": params.verify.copy_threshold,
        "unlike": _unlike(reference, comparison, pictures(pixels, rows[known.split == "test"])),
        "confidence": error_rates(predictions).model_dump(by_alias=True)["ranges"],
    }
    return Released(reference, settings)


def _unlike(reference: Reference, comparison: Comparison, made: dict[str, np.ndarray]) -> dict:
    """Set the threshold, and count how often it warns of test scans and of pictures that were made."""
    split = reference.scans.split
    threshold = unlike.threshold(comparison.distances(reference.thumbnails[split == "val"]))
    warned = comparison.distances(reference.thumbnails[split == "test"]) > threshold
    share = GroupBootstrap(reference.scans.unit[split == "test"]).share(warned, np.ones_like(warned))
    rates = [{"pictures": "test scans", "count": len(warned)} | share.fields("warned", SHARE)]
    for name, some in made.items():
        warned = comparison.distances(small(some, np.arange(len(some)))) > threshold
        rates.append({"pictures": name, "count": len(warned), "warned": float(warned.mean())})
    return {"threshold": threshold, "rates": rates}
