"""Put together the model to hand over: weights, known scans, the error rates of its answers, and the model card."""

import shutil

import numpy as np

import stages
from trueslice.files import read_json, whole_folder, write_json
from trueslice.inference.projection import plane
from trueslice.inference.reference import Reference
from trueslice.params import Params
from trueslice.records.confidence import ErrorRates
from trueslice.records.ood import OodWarnings
from trueslice.report.card import card
from trueslice.report.run import Run
from trueslice.tables.predictions import ModelPredictions
from trueslice.tables.splits import Splits


def main(params: Params) -> None:
    thumbnails = np.load(stages.SCANS / "thumbnails.npy", mmap_mode="r")
    reference = Reference.select(Splits.read(stages.SPLITS), thumbnails, np.load(stages.FEATURES))
    predictions = ModelPredictions.read(stages.PLOTS / "predictions.csv")
    drawn, axes = plane(reference.scans, reference.embeddings, predictions)
    drawn.write(stages.PLOTS / "embedding.csv")
    axes.write(stages.METRICS / "embedding.json")
    run = Run.read(stages.METRICS, stages.FINETUNED, params)
    settings = read_json(stages.FINETUNED / "trueslice.json") | {
        "drawn": params.data.source == "phantom",
        "decode": params.verify.model_dump(include={"image_size", "colour", "max_pixels"}),
        "copy_threshold": params.verify.copy_threshold,
        "ood": OodWarnings.read(stages.METRICS / "ood.json").model_dump(by_alias=True),
        "confidence": ErrorRates.read(stages.METRICS / "confidence.json").model_dump(by_alias=True)["ranges"],
        "explain": {"shown": run.explain.shown, "reason": run.explain.reason},
    }
    with whole_folder(stages.RELEASED) as folder:
        shutil.copytree(stages.FINETUNED, folder, dirs_exist_ok=True)
        reference.write(folder)
        write_json(folder / "trueslice.json", settings)
        (folder / "README.md").write_text(card(run, settings), encoding="utf-8")
    print(f"release: {len(reference.scans)} known scans, {stages.RELEASED}")


if __name__ == "__main__":
    stages.run(main)
