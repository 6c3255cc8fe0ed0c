"""Put together what one hands over: the model, and all that it takes to say how much its answers are worth.

data/scans, data/splits.csv, models/trained, plots/predictions.csv, metrics/*.json
-> models/finetuned, metrics/unlike.json, metrics/embedding.json, plots/embedding.csv
"""

import shutil

import numpy as np

import stages
from tumorclip.device import pick_device
from tumorclip.evaluate.projection import plane
from tumorclip.files import read_json, whole_folder, write_json
from tumorclip.inference.release import release
from tumorclip.model.cpu import same_bytes_on_cpus
from tumorclip.model.encoder import Encoder
from tumorclip.params import Params
from tumorclip.report.card import card
from tumorclip.report.run import Run
from tumorclip.tables import ModelPredictions, Splits


def main(params: Params) -> None:
    same_bytes_on_cpus(stages.TRAINED)
    encoder = Encoder.load(stages.TRAINED, pick_device(params.train.device, "train.device"))
    splits = Splits.read(stages.SPLITS)
    pixels = np.load(stages.SCANS / "pixels.npy", mmap_mode="r")
    predictions = ModelPredictions.read(stages.PLOTS / "predictions.csv")
    released = release(encoder, pixels, splits, predictions, params)
    write_json(stages.METRICS / "unlike.json", released.settings["unlike"])
    drawn, shares = plane(released.reference.scans, released.reference.embeddings, predictions)
    drawn.write(stages.PLOTS / "embedding.csv")
    write_json(stages.METRICS / "embedding.json", {"variance": shares})
    settings = read_json(stages.TRAINED / "tumorclip.json") | released.settings
    run = Run.read(stages.METRICS, stages.TRAINED, params.model_dump(mode="json", include=stages.REPORTED))
    if run.explain:
        settings["explain"] = {name: run.explain[name] for name in ("shown", "reason")}
    with whole_folder(stages.FINETUNED) as folder:
        shutil.copytree(stages.TRAINED, folder, dirs_exist_ok=True)
        released.reference.write(folder)
        write_json(folder / "tumorclip.json", settings)
        (folder / "README.md").write_text(card(run, settings), encoding="utf-8")
    print(f"release: {len(released.reference.scans)} known scans, {stages.FINETUNED}")


if __name__ == "__main__":
    stages.run(main)
