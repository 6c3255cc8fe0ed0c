"""Score all predictions.

plots/predictions.csv, data/validation.csv, data/baselines.csv, data/scans/scans.csv, plots/external.csv,
data/external.json, data/explanations.csv
-> metrics/summary.json, metrics/test.json, metrics/intervals.json, metrics/baselines.json, metrics/external.json,
   metrics/explain.json
"""

import stages
from trueslice.evaluate import explanations, external, score, subsets
from trueslice.files import read_json, write_json
from trueslice.params import Params
from trueslice.tables.explanations import Explanations
from trueslice.tables.external import ExternalPredictions
from trueslice.tables.predictions import BaselinePredictions, ModelPredictions, Predictions
from trueslice.tables.scans import Scans


def main(params: Params) -> None:
    negative_class = params.evaluate.negative_class
    predictions = ModelPredictions.read(stages.PLOTS / "predictions.csv")
    labels = subsets.columns(Scans.read(stages.SCANS / "scans.csv"), predictions, params.evaluate.by)
    validation = Predictions.read(stages.VALIDATION)
    test, intervals = score.evaluate(predictions, validation, labels, params.evaluate)
    of_baselines = BaselinePredictions.read(stages.BASELINES)
    baselines = score.score_baselines(of_baselines, predictions, negative_class)
    unit = score.units(predictions)
    write_json(stages.METRICS / "summary.json", score.summarise(test, intervals, baselines))
    write_json(stages.METRICS / "test.json", test)
    write_json(stages.METRICS / "intervals.json", {"unit": unit, "intervals": intervals})
    write_json(stages.METRICS / "baselines.json", {"baselines": baselines})
    points = (test.get("tumour") or {}).get("operating_points", [])
    others = ExternalPredictions.read(stages.PLOTS / "external.csv")
    of_others = external.score(others, read_json(stages.EXTERNAL)["sets"], negative_class, points)
    write_json(stages.METRICS / "external.json", of_others)
    write_json(stages.METRICS / "explain.json", explanations.score(Explanations.read(stages.EXPLANATIONS)))
    low, high = intervals[0]["low"], intervals[0]["high"]
    interval = f", 95 % interval {low:.4f} to {high:.4f}" if low is not None else ""
    print(f"evaluate: {len(predictions)} test scans, accuracy {test['accuracy']:.4f}{interval}")


if __name__ == "__main__":
    stages.run(main)
