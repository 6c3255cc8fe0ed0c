"""What another draw changes in the default run: five runs that differ in all that is drawn but the scans.

python -m benchmarks.seeds

The stages run as they are in .cache/seeds, each time with another `seed`. Runs that are finished there are not run
again; delete the folder to start afresh.
"""

import json

import numpy as np

from benchmarks.protocols import ROOT, prepare, run
from tumorclip.files import read_json

WORK = ROOT / ".cache/seeds"
SEEDS = range(5)


def main() -> None:
    source = WORK / "source"
    prepare(source, {})
    for stage in ("download", "verify"):
        run(stage, source)
    accuracies = []
    for seed in SEEDS:
        folder = WORK / str(seed)
        prepare(folder, {"seed": seed}, {"data/scans": source / "data/scans"})
        for stage in ("checkpoint", "split", "train", "predict", "baselines", "evaluate"):
            run(stage, folder)
        accuracies.append(read_json(folder / "metrics/test.json")["accuracy"])
    result = {
        "seeds": list(SEEDS),
        "accuracy": accuracies,
        "mean": float(np.mean(accuracies)),
        "standard_deviation": float(np.std(accuracies, ddof=1)),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
