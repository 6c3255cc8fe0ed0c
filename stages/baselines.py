"""Classify the test scans without any fine-tuning."""

import numpy as np

import stages
from trueslice.baselines.baselines import BASELINES, Inputs, Task
from trueslice.device import pick_device
from trueslice.model.cpu import same_bytes_on_cpus
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import Pixels
from trueslice.params import Params
from trueslice.tables.predictions import BaselinePredictions
from trueslice.tables.splits import Splits


def main(params: Params) -> None:
    same_bytes_on_cpus(stages.PRETRAINED)
    encoder = Encoder.load(stages.PRETRAINED, pick_device(params.train.device, "train.device"))
    splits = Splits.read(stages.SPLITS)
    pixels, means = (np.load(stages.SCANS / name, mmap_mode="r") for name in ("pixels.npy", "thumbnails.npy"))

    def inputs(part: str) -> Inputs:
        rows = np.flatnonzero(splits.split == part)
        scans = Pixels(pixels, rows, encoder.image_size, encoder.device)
        return Inputs(pixels[rows], means[rows], encoder.features(scans.all()))

    train = splits.take(splits.split == "train")
    y_train = np.array([params.class_names.index(name) for name in train.class_name])
    captions = list(params.classes.values())
    task = Task(inputs("train"), y_train, train.unit, inputs("test"), captions, encoder)
    predictions = []
    for name, baseline in BASELINES.items():
        found = baseline(task)
        own = {"y_pred": found.argmax(axis=1), "probabilities": found, "baseline": np.full(len(found), name)}
        predictions.append(BaselinePredictions(**splits.columns_of("test", params.class_names), **own))
    BaselinePredictions.concatenate(predictions).write(stages.BASELINES)
    right = [f"{each.baseline[0]} {np.mean(each.y_pred == each.y_true):.4f}" for each in predictions]
    print(f"baselines: {len(task.test.pixels)} test scans, accuracy of {', '.join(right)}")


if __name__ == "__main__":
    stages.run(main)
