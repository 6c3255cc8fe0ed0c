"""Draw the figures of the run and write its report.

data/scans, metrics, plots/steps.csv, plots/predictions.csv -> plots/figures, plots/report.html
"""

from collections import Counter

import numpy as np
from matplotlib.figure import Figure

import stages as common
from tumorclip.data import groups as audit
from tumorclip.evaluate import calibration
from tumorclip.evaluate.intervals import GroupBootstrap
from tumorclip.files import read_csv, read_json, whole_file, whole_folder
from tumorclip.params import Params
from tumorclip.report import figures
from tumorclip.report import page as report

SHOWN_PAIRS = 8
SETTINGS = {"data", "checkpoint", "verify", "split", "train", "evaluate"}


def main(params: Params) -> None:
    names = ("data", "split", "train", "test", "baselines")
    measured = {name: read_json(common.METRICS / f"{name}.json") for name in names}
    intervals = read_json(common.METRICS / "intervals.json")["intervals"]
    train, scores = measured["train"], measured["test"]
    predictions = read_csv(common.PLOTS / "predictions.csv")
    losses = [float(row["loss"]) for row in read_csv(common.PLOTS / "steps.csv")]
    history = {name: [epoch[name] for epoch in train["epochs"]] for name in train["epochs"][0]}

    drawn = {
        "training_loss": figures.training_loss(losses, history["val_loss"]),
        "train_vs_test_accuracy": figures.train_vs_test_accuracy(
            history["train_accuracy"], scores["accuracy"], history["val_accuracy"], train["best_epoch"]
        ),
        "per_class_accuracy": figures.per_class_accuracy(scores, intervals),
        "per_class_f1_score": figures.per_class_f1_score(scores, intervals),
        "confusion_matrix": figures.confusion_matrix(scores),
        **_of_the_predictions(predictions, scores, train["temperature"]),
        **_of_the_audit(params.verify.copy_threshold),
    }
    compared = scores.get("leaked_against_clean")
    if compared and compared["mean_over_classes"]["leaked_accuracy"] is not None:
        drawn["leaked_against_clean"] = figures.leaked_against_clean(compared, params.class_names, intervals)
    with whole_folder(common.PLOTS / "figures") as folder:
        for name, figure in drawn.items():
            figures.save(figure, folder / f"{name}.png")
    run = report.Run(
        **measured,
        intervals=intervals,
        distinct=Counter(name for name, _ in {(row["actual"], row["group"]) for row in predictions}),
        settings=params.model_dump(mode="json", include=SETTINGS),
        drawn=params.data.source == "phantom",
    )
    with whole_file(common.PLOTS / "report.html") as beside:
        beside.write_text(report.page(run, {name: f"figures/{name}.png" for name in drawn}), encoding="utf-8")
    print(f"plot: {len(drawn)} figures in {common.PLOTS / 'figures'}, {common.PLOTS / 'report.html'}")


def _of_the_predictions(rows: list[dict], scores: dict, temperature: float) -> dict[str, Figure]:
    columns = [name for name in rows[0] if name.startswith("probability_")]
    probabilities = np.array([[float(row[name]) for name in columns] for row in rows])
    correct = np.array([row["actual"] == row["predicted"] for row in rows])
    similarity = np.array([float(row["similarity"]) for row in rows])
    bootstrap = GroupBootstrap(np.array([int(row["group"]) for row in rows]))
    confidence = probabilities.max(axis=1)
    before = calibration.before_temperature(probabilities, temperature).max(axis=1)
    bins = bootstrap.within(calibration.bin_of(confidence), calibration.BINS, correct)
    similar = bootstrap.within(np.digitize(similarity, figures.SIMILARITIES), len(figures.SIMILARITIES) + 1, correct)
    return {
        "reliability": figures.reliability(
            calibration.reliability(confidence, correct),
            calibration.reliability(before, correct),
            [part.interval for part in bins],
            scores["calibration"],
        ),
        "accuracy_by_similarity": figures.accuracy_by_similarity(similar),
    }


def _of_the_audit(threshold: float) -> dict[str, Figure]:
    scans, pairs = read_csv(common.SCANS / "scans.csv"), read_csv(common.SCANS / "pairs.csv")
    pairs = [audit.Pair(int(pair["a"]), int(pair["b"]), pair["kind"], float(pair["correlation"])) for pair in pairs]
    splits = np.array([scan["official_split"] for scan in scans])
    classes = np.array([scan["class"] for scan in scans])
    groups = np.array([int(scan["group"]) for scan in scans])
    has_copy = np.bincount(groups)[groups] > 1
    drawn = {
        "copy_matches": figures.copy_matches(np.array([float(s["best_match"]) for s in scans]), has_copy, threshold)
    }
    shown = audit.examples(pairs, splits, classes, groups, SHOWN_PAIRS)
    if shown:
        pixels = np.load(common.SCANS / "pixels.npy", mmap_mode="r")
        drawn["leaked_pairs"] = figures.leaked_pairs(
            [pixels[pair.a] for pair in shown],
            [pixels[pair.b] for pair in shown],
            [pair.kind for pair in shown],
            [pair.correlation for pair in shown],
            [" / ".join(dict.fromkeys([classes[pair.a], classes[pair.b]])) for pair in shown],
            "test" in splits,
        )
    if "test" in splits:
        counts = read_json(common.METRICS / "data.json")
        drawn["leaked_share"] = figures.leaked_share(counts["leaked_test_scans"], counts["scans"]["test"])
    return drawn


if __name__ == "__main__":
    common.run(main)
