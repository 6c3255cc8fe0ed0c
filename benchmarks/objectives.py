"""The objectives side by side on a published archive, each at the learning rate that validates best.

python -m benchmarks.objectives brain-tumor-mri-dataset.zip

The stages run as they are, with params.yaml but for the objective, the learning rate and the seed, in
.cache/objectives, two trainings at a time with one thread each; scans and split are those of benchmarks.protocols.
What is finished there is not run again. The learning rate is chosen on seed 0 by validation accuracy; no test scan is
looked at before. At the end the table of the README is printed.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks import protocols
from tumorclip import files
from tumorclip.evaluate import compare
from tumorclip.tables import ModelPredictions

WORK = protocols.ROOT / ".cache/objectives"
PROTOCOL = "drop_train"
OBJECTIVES = ("caption", "multi_positive", "in_batch")
RATES = (5e-4, 1e-3, 2e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="folder or .zip with Training/ and Testing/")
    protocols.prepare_scans(parser.parse_args().archive)
    protocols.prepare_split(PROTOCOL)
    first, *others = protocols.SEEDS
    with ThreadPoolExecutor(protocols.JOBS) as pool:
        tried = [(objective, rate, first) for objective in OBJECTIVES for rate in RATES]
        scores = dict(zip(tried, pool.map(lambda job: train(*job), tried), strict=True))
        best = {each: max(RATES, key=lambda rate: scores[each, rate, first]) for each in OBJECTIVES}
        list(pool.map(lambda job: train(*job), [(each, best[each], seed) for each in OBJECTIVES for seed in others]))
        chosen = [folder(each, best[each], seed) for each in OBJECTIVES for seed in protocols.SEEDS]
        for stage in ("predict", "baselines", "evaluate"):
            list(pool.map(lambda place, stage=stage: protocols.run(stage, place), chosen))
    print_tables(scores, best)


def folder(objective: str, rate: float, seed: int) -> Path:
    return WORK / f"{objective}-{rate:g}-{seed}"


def train(objective: str, rate: float, seed: int) -> float:
    """Train, unless that was done before; the validation accuracy of the best epoch."""
    place, source = folder(objective, rate, seed), protocols.WORK
    settings = {"train.objective": objective, "train.learning_rate": rate, "train.seed": seed, "train.device": "cpu"}
    links = {"data": source / PROTOCOL / "data", "models/pretrained": source / "source/models/pretrained"}
    protocols.prepare(place, protocols.split(PROTOCOL) | settings, links)
    protocols.run("train", place)
    return files.read_json(place / "metrics/train.json")["val_accuracy"]


def print_tables(scores: dict[tuple, float], best: dict[str, float]) -> None:
    first = protocols.SEEDS[0]
    print(
        f"| objective | {' | '.join(f'validation at {rate:g}' for rate in RATES)} | test accuracy | seeds | macro F1 |"
    )
    print("| --- " * (len(RATES) + 4) + "|")
    sides = {}
    for objective in OBJECTIVES:
        places = {seed: folder(objective, best[objective], seed) for seed in protocols.SEEDS}
        runs = {seed: ModelPredictions.read(place / "plots/predictions.csv") for seed, place in places.items()}
        tests = [files.read_json(place / "metrics/test.json") for place in places.values()]
        accuracy, low, high = protocols.mean_accuracy(runs)
        of_seeds = sorted(100 * test["accuracy"] for test in tests)
        cells = [f"`{objective}`"]
        for rate in RATES:
            mark = "**" if rate == best[objective] else ""
            cells.append(f"{mark}{scores[objective, rate, first]:.1%}{mark}")
        cells += [f"**{accuracy:.1%}** ({100 * low:.1f} to {100 * high:.1f})"]
        cells += [f"{of_seeds[0]:.1f} to {of_seeds[-1]:.1f}", f"{np.mean([test['macro_f1'] for test in tests]):.3f}"]
        print("| " + " | ".join(cells) + " |")
        sides |= {f"{objective} {seed}": predictions for seed, predictions in runs.items()}
    paired = compare.pair(sides)
    for a, b in (("in_batch", "caption"), ("in_batch", "multi_positive"), ("multi_positive", "caption")):
        protocols.print_difference(paired, a, b)


if __name__ == "__main__":
    main()
