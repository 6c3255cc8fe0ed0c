"""Score what needs no fine-tuning on the same test scans: data/scans, data/splits.csv -> metrics/baselines.json."""

import numpy as np
import torch

import stages as common
from tumorclip.device import pick_device
from tumorclip.evaluate import baselines
from tumorclip.files import read_csv, write_json
from tumorclip.model.encoder import Encoder
from tumorclip.model.pixels import Scans
from tumorclip.params import Params


def main(params: Params) -> None:
    device, names = torch.device(pick_device(params.train.device, "train.device")), params.class_names
    encoder = Encoder.load(common.PRETRAINED, device)
    rows = read_csv(common.SPLITS)
    every = np.load(common.SCANS / "pixels.npy", mmap_mode="r")
    train, test = ([row for row in rows if row["split"] == part] for part in ("train", "test"))
    trained, scans = (every[[int(row["row"]) for row in part]] for part in (train, test))
    learnt, actual = (np.array([names.index(row["class"]) for row in part]) for part in (train, test))
    predicted = baselines.predict(trained, learnt, scans)
    with torch.inference_mode():
        loaded = Scans(scans, np.arange(len(scans)), encoder.image_size, device)
        logits = encoder.logits(loaded.all(), encoder.encode_classes(list(params.classes.values())))
    predicted["zero_shot"] = logits.argmax(dim=1).numpy()
    groups = np.array([int(row["group"]) for row in test])
    result = baselines.evaluate(actual, groups, predicted, names, params.evaluate.negative_class)
    write_json(common.METRICS / "baselines.json", result)
    print("baselines: " + ", ".join(f"{row['baseline']} {row['accuracy']:.4f}" for row in result["baselines"]))


if __name__ == "__main__":
    common.run(main)
