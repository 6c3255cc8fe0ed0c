"""The objectives side by side under `patients`, each at the learning rate that validates best.

python -m benchmarks.objectives brain-tumor-mri-dataset.zip

Validation scans are of patients of their own, as test scans are, and they alone choose the learning rate: no test scan
is looked at before. Trainings are those of benchmarks.protocols but for objective and learning rate, and shorter while
learning rates are tried. Writes benchmarks/results/objectives.json and prints the table of docs/results.md.
"""

import argparse
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.pipeline import CACHE, JOBS, prepare, prepare_scans, run
from benchmarks.protocols import FOLDS, MODEL
from tumorclip.files import read_json

WORK = CACHE / "objectives"
OBJECTIVES = ("caption", "multi_positive", "in_batch")
RATES = (1e-3, 2e-3, 4e-3)
TRIAL_EPOCHS = 3
FOLD = 5  # that benchmarks.protocols does not test on
STAGES = ("checkpoint", "split", "train")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="folder or .zip with Training/ and Testing/")
    scans = prepare_scans(parser.parse_args().archive)
    tried = [(objective, rate) for objective in OBJECTIVES for rate in RATES]

    def trial(job: tuple[str, float]) -> float:
        objective, rate = job
        settings = {"train.objective": objective, "train.learning_rate": rate, "train.epochs": TRIAL_EPOCHS}
        return train(scans, f"{objective}-{rate:g}", settings)["val_accuracy"]

    with ThreadPoolExecutor(JOBS) as pool:
        for (objective, rate), accuracy in zip(tried, pool.map(trial, tried), strict=True):
            print(f"{objective} at {rate:g}: {accuracy:.4f}")


def train(scans: Path, name: str, settings: Mapping[str, object], seed: int = 0) -> dict:
    """Train on patients that FOLD does not hold; the summary of metrics/train.json."""
    folder = WORK / name
    division = {"split.protocol": "patients", "split.folds": FOLDS, "split.fold": FOLD}
    prepare(folder, MODEL | division | {"seed": seed} | settings, {"data/scans": scans / "data/scans"})
    for stage in STAGES:
        run(stage, folder)
    return read_json(folder / "metrics/train.json")


if __name__ == "__main__":
    main()
