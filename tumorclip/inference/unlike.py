"""Whether a scan is like those that the model was trained on: its distance to the nearest of them by embedding.

The threshold is set on validation scans; how often it warns is measured on test scans, where it should not, and on
pictures that are no such scans (strangers.py), where it should.
"""

import numpy as np

from tumorclip.evaluate.external import share_row
from tumorclip.evaluate.intervals import GroupBootstrap
from tumorclip.inference.reference import Reference, embed
from tumorclip.inference.strange import strange
from tumorclip.model.encoder import Encoder

NEIGHBOURS = 5
QUANTILE = 0.99  # of the distances of validation scans, at which the threshold lies


def distances(similarities: np.ndarray) -> np.ndarray:
    """One minus the mean cosine similarity to the nearest training scans.

    From similarities float32 [B, N] to all of them: float64 [B].
    """
    count = min(NEIGHBOURS, similarities.shape[1])
    nearest = np.partition(similarities, similarities.shape[1] - count, axis=1)[:, -count:]
    return 1 - nearest.mean(axis=1, dtype=np.float64)


def threshold(validation: np.ndarray) -> float:
    """The distance from which a scan is unlike, by those of validation scans, float64 [V]."""
    return float(np.quantile(validation, QUANTILE))


def measure(encoder: Encoder, reference: Reference, test: np.ndarray) -> dict:
    """Set the threshold, and count how often it warns: what stands under `unlike` in tumorclip.json.

    `test` are the pixels of the test scans, uint8 [T, S, S] or [T, S, S, 3].
    """
    split = reference.scans.split
    train = reference.embeddings[split == "train"]
    limit = threshold(distances(reference.embeddings[split == "val"] @ train.T))
    bootstrap = GroupBootstrap(reference.scans.unit[split == "test"])
    warned = distances(reference.embeddings[split == "test"] @ train.T) > limit
    rates = [
        {"pictures": "test scans", "count": len(warned)}
        | share_row("warned", bootstrap.share(warned, np.ones_like(warned)))
    ]
    for name, pictures in strange(test).items():
        far = distances(embed(encoder, pictures, np.arange(len(pictures))) @ train.T) > limit
        rates.append({"pictures": name, "count": len(far), "warned": float(far.mean())})
    return {"threshold": limit, "rates": rates}
