"""Explain the predictions of the test scans by heat maps, and compare these with the masks of their tumours."""

from pathlib import Path

import numpy as np
import torch

import stages
from trueslice.device import pick_device
from trueslice.explain import examples, pointing
from trueslice.explain.maps import SIDE, cells, in_random_order, maps
from trueslice.explain.similarity import unit_length
from trueslice.files import whole_file
from trueslice.model.cpu import same_bytes_on_cpus
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import Pixels
from trueslice.params import Params
from trueslice.reading.masks import MASKS, read_masks
from trueslice.tables.explanations import Explanations
from trueslice.tables.predictions import ModelPredictions
from trueslice.tables.splits import Splits


def main(params: Params) -> None:
    splits = Splits.read(stages.SPLITS)
    predictions = ModelPredictions.read(stages.PLOTS / "predictions.csv")
    train, test = (np.flatnonzero(splits.split == name) for name in ("train", "test"))
    masks = _masks(params, splits.path)
    has_mask: np.ndarray = masks.max(axis=(1, 2))
    heat, table = np.zeros(masks[test].shape), Explanations.empty()
    if has_mask[test].any():  # else no map could be measured, and none would be shown
        heat, table = _explain(params, splits, predictions, masks)
    with whole_file(stages.MAPS) as new, new.open("wb") as file:
        np.save(file, np.stack([np.rint(255 * heat).astype(np.uint8), 255 * masks[test].astype(np.uint8)], axis=1))
    table.write(stages.EXPLANATIONS)
    embeddings = unit_length(np.load(stages.FEATURES))
    examples.choose(predictions, has_mask[test], test, train, embeddings).write(stages.EXAMPLES)
    told = f"the map is highest in the tumour of {table.pointing.mean():.1%}" if len(table) else "nothing is measured"
    print(f"explain: {len(test)} test scans, {len(table)} of them with a mask; {told}")


def _explain(
    params: Params, splits: Splits, predictions: ModelPredictions, masks: np.ndarray
) -> tuple[np.ndarray, Explanations]:
    """Make the maps of all test scans, and measure those of the scans with a mask."""
    same_bytes_on_cpus(stages.FINETUNED)
    encoder = Encoder.load(stages.FINETUNED, pick_device(params.train.device, "train.device"))
    pixels, captions = np.load(stages.SCANS / "pixels.npy", mmap_mode="r"), list(params.classes.values())
    is_test, has_mask = splits.split == "test", masks.max(axis=(1, 2))
    rows, fitted = np.flatnonzero(has_mask & is_test), has_mask & np.isin(splits.split, ["train", "val"])
    scans, measured = (
        Pixels(pixels, each, encoder.image_size, encoder.device) for each in (np.flatnonzero(is_test), rows)
    )
    heat = maps(encoder, scans, captions, predictions.y_pred)
    own = predictions.take(has_mask[is_test])
    grey = Pixels(pixels, rows, SIDE, torch.device("cpu")).take(torch.arange(len(rows))).float().mean(dim=1)
    in_random_order(encoder)
    random = maps(encoder, measured, captions, own.y_pred)
    inputs = pointing.Measured(heat[has_mask[is_test]], random, masks[rows], grey.numpy(), cells(encoder))
    predicted = np.array(own.class_names)[own.y_pred]
    return heat, pointing.measure(splits.take(rows), predicted, inputs, splits.take(fitted), masks[fitted])


def _masks(params: Params, paths: np.ndarray) -> np.ndarray:
    """Read the masks of all scans: bool [N, SIDE, SIDE], all False where none is known."""
    brought = stages.RAW / MASKS
    chosen = params.explain.masks
    if chosen is None or (chosen == "auto" and not brought.is_dir()):
        return np.zeros((len(paths), SIDE, SIDE), bool)
    folder = brought if chosen == "auto" else stages.repository_root() / Path(chosen).expanduser()
    return read_masks(folder, paths.tolist(), SIDE)


if __name__ == "__main__":
    stages.run(main)
