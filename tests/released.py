"""A released model that is quick to make: random weights, a few scans of noise."""

import shutil
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from tests.made import released_model
from trueslice.explain.similarity import unit_length
from trueslice.inference.folder import SETTINGS, write_settings
from trueslice.inference.reference import Reference, small
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import Pixels
from trueslice.params import Decode
from trueslice.records.released import ReleasedModel
from trueslice.tables.known import KnownScans

CLASSES = {"glioma": ["a glioma"], "notumor": ["no tumour", "a healthy brain"], "pituitary": ["a pituitary tumour"]}
SIDE = 80  # of a decoded scan: neither that of `tiny` nor that of `tiny_conv`
SPLITS = ("train", "val", "test")


def scans(count: int, seed: int = 0) -> np.ndarray:
    """Smooth noise, uint8 [count, 80, 80]."""
    noise = np.random.default_rng(seed).standard_normal((count, SIDE, SIDE))
    return np.clip(128 + 400 * gaussian_filter(noise, (0, 3, 3)), 0, 255).astype(np.uint8)


def release(checkpoint: Path, folder: Path, count: int = 30) -> None:
    """Release the checkpoint into `folder`, with `count` known scans, a third of them for the test."""
    shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
    rows = np.arange(count)
    known = KnownScans(
        path=np.array([f"scans/{row}.png" for row in rows]),
        class_name=np.array(list(CLASSES))[rows % len(CLASSES)],
        split=np.array(SPLITS)[rows * len(SPLITS) // count],
        unit=rows,
    )
    encoder, pixels = Encoder.load(checkpoint, "cpu"), scans(count)
    features = encoder.features(Pixels(pixels, rows, encoder.image_size, encoder.device).all())
    Reference(known, small(pixels, rows), unit_length(features.numpy())).write(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n\n# A model\n", encoding="utf-8")
    decode = Decode(image_size=SIDE, colour=False, max_pixels=10**6)
    write_settings(released_model(classes=CLASSES, temperature=0.7, decode=decode), folder)


def release_again(folder: Path, **values) -> None:
    """Release the files of a folder as they are now, with some values of trueslice.json changed."""
    write_settings(ReleasedModel.read(folder / SETTINGS).model_copy(update=values), folder)
