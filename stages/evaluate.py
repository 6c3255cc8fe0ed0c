"""Score the fine-tuned encoder on the test scans.

data/scans, data/splits.csv, models/finetuned -> metrics/test.json, metrics/intervals.json, plots/predictions.csv
"""

import numpy as np
import torch

import stages as common
from tumorclip.data import copies
from tumorclip.device import pick_device
from tumorclip.evaluate import score as scoring
from tumorclip.files import read_csv, read_json, write_csv, write_json
from tumorclip.model.encoder import Encoder
from tumorclip.model.pixels import Scans
from tumorclip.params import Params


def main(params: Params) -> None:
    device = torch.device(pick_device(params.train.device, "train.device"))
    encoder = Encoder.load(common.FINETUNED, device)
    temperature = read_json(common.FINETUNED / "tumorclip.json")["temperature"]
    rows = read_csv(common.SPLITS)
    test, train = ([row for row in rows if row["split"] == part] for part in ("test", "train"))
    every = np.load(common.SCANS / "pixels.npy", mmap_mode="r")
    scans, trained = (every[[int(row["row"]) for row in part]] for part in (test, train))
    loaded, names = Scans(scans, np.arange(len(scans)), encoder.image_size, device), params.class_names

    with torch.inference_mode():
        classes = encoder.encode_classes(list(params.classes.values()))
        logits = encoder.logits(loaded.all(), classes).double()
        upside_down = encoder.logits((batch.flip(-2) for batch in loaded.all()), classes).argmax(dim=1).numpy()
    predictions = scoring.Predictions(
        actual=np.array([names.index(row["class"]) for row in test]),
        probabilities=(logits / temperature).softmax(dim=1).numpy(),
        uncalibrated=logits.softmax(dim=1).numpy(),
        groups=np.array([int(row["group"]) for row in test]),
        leaked=np.array([row["leaked"] == "1" for row in test]),
    )
    similarity = copies.nearest_training(copies.thumbnails(scans), copies.thumbnails(trained))
    fitted_on = {int(row["group"]) for row in rows if row["split"] in ("train", "val")}
    trained_on_copies = not fitted_on.isdisjoint(predictions.groups.tolist())

    scores, intervals = scoring.evaluate(
        predictions, names, params.evaluate.negative_class, trained_on_copies, upside_down
    )
    write_json(common.METRICS / "test.json", scores)
    write_json(common.METRICS / "intervals.json", {"intervals": intervals})
    columns = ["path", "pixel_hash", "group", "leaked", "similarity", "actual", "predicted"]
    write_csv(
        common.PLOTS / "predictions.csv",
        [*columns, *(f"probability_{name}" for name in names)],
        (
            {name: row[name] for name in ("path", "pixel_hash", "group", "leaked")}
            | {"similarity": f"{alike:.6f}", "actual": row["class"], "predicted": names[winner]}
            | {f"probability_{name}": f"{share:.8g}" for name, share in zip(names, shares, strict=True)}
            for row, alike, winner, shares in zip(
                test, similarity, predictions.predicted, predictions.probabilities, strict=True
            )
        ),
    )
    low, high = intervals[0]["low"], intervals[0]["high"]
    interval = f", 95 % interval {low:.4f} to {high:.4f}" if low is not None else ""
    print(f"evaluate: {len(test)} test scans, accuracy {scores['accuracy']:.4f}{interval}")


if __name__ == "__main__":
    common.run(main)
