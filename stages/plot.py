"""Draw the figures of the run.

metrics/train.json, metrics/test.json, plots/steps.csv -> plots/figures
"""

from stages import common
from tumorclip.files import read_csv, read_json, whole_folder
from tumorclip.params import Params
from tumorclip.results import figures


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
    }
    with whole_folder(common.PLOTS / "figures") as folder:
        for name, figure in drawn.items():
            figures.save(figure, folder / f"{name}.png")
    print(f"plot: {len(drawn)} figures in {common.PLOTS / 'figures'}")


if __name__ == "__main__":
    common.run(main)
