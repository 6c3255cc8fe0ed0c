"""Draw the figures of the run.

data/scans, metrics/data.json, metrics/train.json, metrics/test.json, plots/steps.csv -> plots/figures
"""

import numpy as np
from matplotlib.figure import Figure

from stages import common
from tumorclip.files import read_csv, read_json, whole_folder
from tumorclip.params import Params
from tumorclip.results import figures
from tumorclip.scans import audit

SHOWN_PAIRS = 8


def main(params: Params) -> None:
    train = read_json(common.METRICS / "train.json")
    scores = read_json(common.METRICS / "test.json")
    losses = [float(row["loss"]) for row in read_csv(common.PLOTS / "steps.csv")]
    history = {name: [epoch[name] for epoch in train["epochs"]] for name in train["epochs"][0]}

    drawn = {
        "training_loss": figures.training_loss(losses, history["val_loss"]),
        "train_vs_test_accuracy": figures.train_vs_test_accuracy(
            history["train_accuracy"], scores["accuracy"], history["val_accuracy"], train["best_epoch"]
        ),
        "per_class_accuracy": figures.per_class_accuracy(scores),
        "per_class_f1_score": figures.per_class_f1_score(scores),
        "confusion_matrix": figures.confusion_matrix(scores),
        **_of_the_audit(params.verify.copy_threshold),
    }
    with whole_folder(common.PLOTS / "figures") as folder:
        for name, figure in drawn.items():
            figures.save(figure, folder / f"{name}.png")
    print(f"plot: {len(drawn)} figures in {common.PLOTS / 'figures'}")


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
