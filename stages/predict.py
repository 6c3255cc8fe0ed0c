"""Classify the validation and test scans with the fine-tuned encoder.

data/scans, data/splits.csv, models/finetuned -> data/validation.csv, plots/predictions.csv
"""

import numpy as np
import torch

import stages
from trueslice.copies import search as copies
from trueslice.device import pick_device
from trueslice.files import read_json
from trueslice.model.cpu import same_bytes_on_cpus
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import Pixels
from trueslice.params import Params
from trueslice.tables.predictions import ModelPredictions, Predictions
from trueslice.tables.splits import Splits


def main(params: Params) -> None:
    same_bytes_on_cpus(stages.FINETUNED)
    encoder = Encoder.load(stages.FINETUNED, pick_device(params.train.device, "train.device"))
    temperature = read_json(stages.FINETUNED / "trueslice.json")["temperature"]
    splits = Splits.read(stages.SPLITS)
    pixels = np.load(stages.SCANS / "pixels.npy", mmap_mode="r")
    train, val, test = (np.flatnonzero(splits.split == name) for name in ("train", "val", "test"))

    scans, held_out = (Pixels(pixels, rows, encoder.image_size, encoder.device) for rows in (test, val))
    with torch.inference_mode():
        classes = encoder.encode_classes(list(params.classes.values()))
        logits, of_held_out = (encoder.logits(each.all(), classes) for each in (scans, held_out))
        upside_down = encoder.logits((batch.flip(-2) for batch in scans.all()), classes)
        probabilities, validation = ((each.double() / temperature).softmax(dim=1) for each in (logits, of_held_out))
    Predictions(
        **splits.columns_of("val", params.class_names),
        y_pred=validation.numpy().argmax(axis=1),
        probabilities=validation.numpy(),
    ).write(stages.VALIDATION)
    predictions = ModelPredictions(
        **splits.columns_of("test", params.class_names),
        y_pred=probabilities.numpy().argmax(axis=1),
        probabilities=probabilities.numpy(),
        logits=logits.numpy(),
        upside_down=upside_down.numpy().argmax(axis=1),
        similarity=copies.nearest_training(copies.thumbnails(pixels[test]), copies.thumbnails(pixels[train])),
    )
    predictions.write(stages.PLOTS / "predictions.csv")
    print(f"predict: {len(test)} test scans, {np.mean(predictions.y_pred == predictions.y_true):.2%} of them right")


if __name__ == "__main__":
    stages.run(main)
