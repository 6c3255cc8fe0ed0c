"""Put together the model to hand over: weights, known scans, the error rates of its answers, and the model card."""

import shutil

import numpy as np

import stages
from trueslice.files import whole_folder
from trueslice.inference.folder import write_settings
from trueslice.inference.projection import plane
from trueslice.inference.reference import Reference
from trueslice.params import Decode, Params
from trueslice.records.confidence import ErrorRates
from trueslice.records.ood import OodWarnings
from trueslice.records.released import FORMAT, HeatMaps, ReleasedModel
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
    settings = ReleasedModel(
        **vars(run.model),
        format=FORMAT,
        drawn=params.data.source == "phantom",
        decode=Decode(**params.verify.model_dump(include=set(Decode.model_fields))),
        copy_threshold=params.verify.copy_threshold,
        ood=OodWarnings.read(stages.METRICS / "ood.json"),
        confidence=ErrorRates.read(stages.METRICS / "confidence.json").ranges,
        explain=HeatMaps(shown=run.explain.shown, reason=run.explain.reason),
        promise=run.withheld.promise,
        files={},
    )
    with whole_folder(stages.RELEASED) as folder:
        shutil.copytree(stages.FINETUNED, folder, dirs_exist_ok=True)
        reference.write(folder)
        (folder / "README.md").write_text(card(run, settings), encoding="utf-8")
        write_settings(settings, folder)
    print(f"release: {len(reference.scans)} known scans, {stages.RELEASED}")


if __name__ == "__main__":
    stages.run(main)
