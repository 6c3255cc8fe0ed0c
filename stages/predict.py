"""Run the fine-tuned image tower over every scan, and classify the validation and test scans."""

import numpy as np
import torch

import stages
from trueslice.copies.search import nearest_training
from trueslice.copies.thumbnails import thumbnails
from trueslice.device import pick_device
from trueslice.files import whole_file
from trueslice.model.cpu import same_bytes_on_cpus
from trueslice.model.encoder import Encoder, probabilities
from trueslice.model.pixels import Pixels
from trueslice.ood.distance import coarse, distances, rounded
from trueslice.ood.pictures import pictures
from trueslice.params import Params
from trueslice.records.trained import TrainedModel
from trueslice.tables.ood import OodDistances
from trueslice.tables.predictions import ModelPredictions, ValidationPredictions
from trueslice.tables.splits import Splits


def main(params: Params) -> None:
    same_bytes_on_cpus(stages.FINETUNED)
    encoder = Encoder.load(stages.FINETUNED, pick_device(params.train.device, "train.device"))
    splits = Splits.read(stages.SPLITS)
    rows = {name: np.flatnonzero(splits.split == name) for name in np.unique(splits.split)}
    pixels, means = (np.load(stages.SCANS / name, mmap_mode="r") for name in ("pixels.npy", "thumbnails.npy"))
    scans = {name: Pixels(pixels, rows[name], encoder.image_size, encoder.device) for name in rows}
    features = {name: encoder.features(scans[name].all()) for name in rows}
    order = np.argsort(np.concatenate(list(rows.values())))  # back to that of scans.csv
    with whole_file(stages.FEATURES) as new, new.open("wb") as file:
        np.save(file, torch.cat(list(features.values())).numpy()[order])

    upside_down = encoder.features(batch.flip(-2) for batch in scans["test"].all())
    captions = list(params.classes.values())
    logits = {part: encoder.classify(features[part], captions) for part in ("val", "test")}
    temperature = TrainedModel.read(stages.FINETUNED / "trueslice.json").temperature
    train = coarse(rounded(means[rows["train"]]))

    def columns(part: str) -> dict:
        found = probabilities(logits[part], temperature)
        distance = distances(coarse(rounded(means[rows[part]])), train)
        own = {"y_pred": found.argmax(axis=1), "probabilities": found, "distance": distance}
        return splits.columns_of(part, params.class_names) | own

    ValidationPredictions(**columns("val")).write(stages.VALIDATION)
    predictions = ModelPredictions(
        **columns("test"),
        logits=logits["test"].numpy(),
        upside_down=encoder.classify(upside_down, captions).argmax(dim=1).numpy(),
        similarity=nearest_training(means[rows["test"]], means[rows["train"]]),
    )
    predictions.write(stages.PLOTS / "predictions.csv")
    made = {kind: coarse(rounded(thumbnails(some))) for kind, some in pictures(pixels, rows["test"]).items()}
    kinds = np.repeat(list(made), [len(some) for some in made.values()])
    OodDistances(kinds, distances(np.concatenate(list(made.values())), train)).write(stages.OOD)
    print(
        f"predict: {len(predictions)} test scans, {np.mean(predictions.y_pred == predictions.y_true):.2%} of them right"
    )


if __name__ == "__main__":
    stages.run(main)
