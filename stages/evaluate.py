"""Score the fine-tuned encoder on the test scans.

data/scans, data/splits.csv, models/finetuned -> metrics/test.json, plots/predictions.csv
"""

import numpy as np
import torch

from stages import common
from tumorclip.clip.encoder import Encoder, pick_device, to_device
from tumorclip.files import read_csv, write_csv, write_json
from tumorclip.params import Params
from tumorclip.results.scoring import score


def main(params: Params) -> None:
    device = pick_device(params.train.device)
    encoder = Encoder.load(common.FINETUNED, device)
    rows = [row for row in read_csv(common.SPLITS) if row["split"] == "test"]
    scans = np.load(common.SCANS / "pixels.npy", mmap_mode="r")[[int(row["row"]) for row in rows]]
    pixels = to_device(scans, encoder.image_size, device)

    with torch.inference_mode():
        logits = encoder.logits(pixels, encoder.encode_classes(list(params.classes.values())))
    probabilities = logits.double().softmax(dim=1).numpy()
    names = params.class_names
    actual = np.array([names.index(row["class"]) for row in rows])
    predicted = probabilities.argmax(axis=1)

    result = score(actual, predicted, names, params.evaluate.negative_class)
    write_json(common.METRICS / "test.json", result)
    write_csv(
        common.PLOTS / "predictions.csv",
        ["path", "pixel_hash", "group", "leaked", "actual", "predicted", *(f"probability_{name}" for name in names)],
        (
            {name: row[name] for name in ("path", "pixel_hash", "group", "leaked")}
            | {"actual": row["class"], "predicted": names[winner]}
            | {f"probability_{name}": f"{share:.8g}" for name, share in zip(names, shares, strict=True)}
            for row, winner, shares in zip(rows, predicted, probabilities, strict=True)
        ),
    )
    print(f"evaluate: {len(rows)} test scans, accuracy {result['accuracy']:.4f}")


if __name__ == "__main__":
    common.run(main)
