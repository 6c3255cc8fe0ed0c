"""Put together what one hands over: the model, and all that it takes to say how much its answers are worth.

data/scans, data/splits.csv, models/finetuned, plots/predictions.csv, metrics/*.json
-> models/released, metrics/unlike.json, metrics/embedding.json, plots/embedding.csv
"""

import shutil

import numpy as np

import stages
from trueslice.device import pick_device
from trueslice.files import read_json, whole_folder, write_json
from trueslice.inference.projection import plane
from trueslice.inference.release import release
from trueslice.model.cpu import same_bytes_on_cpus
from trueslice.model.encoder import Encoder
from trueslice.params import Params
from trueslice.report.card import card
from trueslice.report.run import Run
from trueslice.tables.predictions import ModelPredictions
from trueslice.tables.splits import Splits


def main(params: Params) -> None:
    same_bytes_on_cpus(stages.FINETUNED)
    encoder = Encoder.load(stages.FINETUNED, pick_device(params.train.device, "train.device"))
    splits = Splits.read(stages.SPLITS)
    pixels = np.load(stages.SCANS / "pixels.npy", mmap_mode="r")
    predictions = ModelPredictions.read(stages.PLOTS / "predictions.csv")
    released = release(encoder, pixels, splits, predictions, params)
    write_json(stages.METRICS / "unlike.json", released.settings["unlike"])
    drawn, axes = plane(released.reference.scans, released.reference.embeddings, predictions)
    drawn.write(stages.PLOTS / "embedding.csv")
    axes.write(stages.METRICS / "embedding.json")
    settings = read_json(stages.FINETUNED / "trueslice.json") | released.settings
    run = Run.read(stages.METRICS, stages.FINETUNED, params)
    settings["explain"] = {"shown": run.explain.shown, "reason": run.explain.reason}
    with whole_folder(stages.RELEASED) as folder:
        shutil.copytree(stages.FINETUNED, folder, dirs_exist_ok=True)
        released.reference.write(folder)
        write_json(folder / "trueslice.json", settings)
        (folder / "README.md").write_text(card(run, settings), encoding="utf-8")
    print(f"release: {len(released.reference.scans)} known scans, {stages.RELEASED}")


if __name__ == "__main__":
    stages.run(main)
