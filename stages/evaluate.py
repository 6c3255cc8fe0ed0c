"""Score all predictions.

plots/predictions.csv, data/baselines.csv, plots/external.csv, data/external.json, metrics/train.json
-> metrics/summary.json, metrics/test.json, metrics/intervals.json, metrics/baselines.json, metrics/external.json
"""

import stages
from tumorclip.evaluate import external, score
from tumorclip.files import read_json, write_json
from tumorclip.params import Params
from tumorclip.tables import BaselinePredictions, ExternalPredictions, ModelPredictions


def main(params: Params) -> None:
    predictions = ModelPredictions.read(stages.PLOTS / "predictions.csv")
    negative_class = params.evaluate.negative_class
    test, intervals = score.evaluate(predictions, negative_class)
    baselines = score.score_baselines(BaselinePredictions.read(stages.BASELINES), negative_class)
    best_epoch = read_json(stages.METRICS / "train.json")["best_epoch"]
    summary = score.summarise(test, intervals, baselines, int((predictions.exposure == "copy").sum()), best_epoch)
    write_json(stages.METRICS / "summary.json", summary)
    write_json(stages.METRICS / "test.json", test)
    write_json(stages.METRICS / "intervals.json", {"intervals": intervals})
    write_json(stages.METRICS / "baselines.json", {"baselines": baselines})
    points = (test.get("tumour") or {}).get("operating_points", [])
    others = ExternalPredictions.read(stages.PLOTS / "external.csv")
    of_others = external.score(others, read_json(stages.EXTERNAL)["sets"], negative_class, points)
    write_json(stages.METRICS / "external.json", of_others)
    low, high = intervals[0]["low"], intervals[0]["high"]
    interval = f", 95 % interval {low:.4f} to {high:.4f}" if low is not None else ""
    print(f"evaluate: {len(predictions)} test scans, accuracy {test['accuracy']:.4f}{interval}")


if __name__ == "__main__":
    stages.run(main)
