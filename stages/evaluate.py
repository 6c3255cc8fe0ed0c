"""Score all predictions."""

import stages
from trueslice.evaluate import explanations, external, ood, patients, score, subsets, withheld
from trueslice.evaluate.confidence import error_rates
from trueslice.params import Params
from trueslice.records.external import ExternalFiles
from trueslice.records.split import SplitCounts
from trueslice.records.train import Training
from trueslice.tables.explanations import Explanations
from trueslice.tables.external import ExternalPredictions
from trueslice.tables.ood import OodDistances
from trueslice.tables.predictions import BaselinePredictions, ModelPredictions, ValidationPredictions
from trueslice.tables.scans import Scans


def main(params: Params) -> None:
    negative_class = params.evaluate.negative_class
    predictions = ModelPredictions.read(stages.PLOTS / "predictions.csv")
    labels = subsets.columns(Scans.read(stages.SCANS / "scans.csv"), predictions, params.evaluate.by)
    validation = ValidationPredictions.read(stages.VALIDATION)
    test, intervals = score.evaluate(predictions, validation, labels, params.evaluate)
    of_patients = patients.score(predictions, validation, params.evaluate)
    baselines = score.score_baselines(BaselinePredictions.read(stages.BASELINES), predictions, negative_class)
    others, files = ExternalPredictions.read(stages.PLOTS / "external.csv"), ExternalFiles.read(stages.EXTERNAL)
    protocol = SplitCounts.read(stages.METRICS / "split.json").protocol
    answered = withheld.score(validation, predictions, others, protocol, params.evaluate.max_error)
    training = Training.read(stages.METRICS / "train.json")
    summary = score.summarise(test, intervals, baselines, training, answered, of_patients)
    points = test.tumour.operating_points if test.tumour else []
    records = {
        "summary": summary,
        "test": test,
        "intervals": intervals,
        "patients": of_patients,
        "baselines": baselines,
        "external": external.score(others, files, negative_class, points),
        "explain": explanations.score(Explanations.read(stages.EXPLANATIONS)),
        "confidence": error_rates(predictions),
        "ood": ood.score(validation, predictions, OodDistances.read(stages.OOD)),
        "withheld": answered,
    }
    for name, record in records.items():
        record.write(stages.METRICS / f"{name}.json")
    accuracy = intervals.find("accuracy")
    interval = f", 95 % interval {accuracy.low:.4f} to {accuracy.high:.4f}" if accuracy.low is not None else ""
    print(f"evaluate: {len(predictions)} test scans, accuracy {accuracy.value:.4f}{interval}")
    if params.evaluate.max_error is not None:
        print(f"evaluate: {withheld.said(answered)}")


if __name__ == "__main__":
    stages.run(main)
