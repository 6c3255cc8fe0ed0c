"""Classify the test scans with the fine-tuned encoder.

data/scans, data/splits.csv, models/finetuned -> plots/predictions.csv
"""

import numpy as np
import torch

import stages
from tumorclip.data import copies
from tumorclip.device import pick_device
from tumorclip.files import read_json
from tumorclip.model.cpu import same_bytes_on_cpus
from tumorclip.model.encoder import Encoder
from tumorclip.model.pixels import Pixels
from tumorclip.params import Params
from tumorclip.tables import ModelPredictions, Splits


def main(params: Params) -> None:
    same_bytes_on_cpus(stages.FINETUNED)
    encoder = Encoder.load(stages.FINETUNED, pick_device(params.train.device, "train.device"))
    temperature = read_json(stages.FINETUNED / "tumorclip.json")["temperature"]
    splits = Splits.read(stages.SPLITS)
    pixels = np.load(stages.SCANS / "pixels.npy", mmap_mode="r")
    train, test = (np.flatnonzero(splits.split == name) for name in ("train", "test"))

    scans = Pixels(pixels, test, encoder.image_size, encoder.device)
    with torch.inference_mode():
        classes = encoder.encode_classes(list(params.classes.values()))
        logits = encoder.logits(scans.all(), classes)
        upside_down = encoder.logits((batch.flip(-2) for batch in scans.all()), classes)
        probabilities = (logits.double() / temperature).softmax(dim=1).numpy()
    predictions = ModelPredictions(
        **splits.columns_of("test", params.class_names),
        y_pred=probabilities.argmax(axis=1),
        probabilities=probabilities,
        logits=logits.numpy(),
        upside_down=upside_down.numpy().argmax(axis=1),
        similarity=copies.nearest_training(copies.thumbnails(pixels[test]), copies.thumbnails(pixels[train])),
    )
    predictions.write(stages.PLOTS / "predictions.csv")
    print(f"predict: {len(test)} test scans, {np.mean(predictions.y_pred == predictions.y_true):.2%} of them right")


if __name__ == "__main__":
    stages.run(main)
