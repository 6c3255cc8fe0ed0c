"""How much the score depends on the split: every protocol with several seeds, on a published archive.

python -m benchmarks.protocols brain-tumor-mri-dataset.zip

A seed varies all that is drawn: initial weights, validation scans, random drops, order, captions and augmentation. Under
`grouped`, `blocked` and `patients` it also varies the test set: seed 0 tests the first of five folds, seed 1 the second,
and so on, so that every scan is tested once at most. The stages run as they are, in .cache/protocols, two at a time with
one thread each. Writes benchmarks/results/protocols.json and prints the tables of docs/results.md.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.pipeline import CACHE, JOBS, prepare, prepare_scans, run

WORK = CACHE / "protocols"
OFFICIAL = ("keep", "drop_random", "drop_train")
PROTOCOLS = (*OFFICIAL, "grouped", "blocked", "patients")
SEEDS = (0, 1, 2)
FOLDS = 5
# What validates best on patient folds in four minutes of training: benchmarks/objectives.py.
MODEL = {"checkpoint.name": "tiny_conv", "train.precision": "fp32", "train.device": "cpu"}
STAGES = ("checkpoint", "split", "train", "predict", "baselines")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="folder or .zip with Training/ and Testing/")
    scans = prepare_scans(parser.parse_args().archive)
    jobs = [(protocol, seed) for seed in SEEDS for protocol in reversed(PROTOCOLS)]
    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(lambda job: train(scans, *job), jobs))


def folder(protocol: str, seed: int) -> Path:
    return WORK / protocol / str(seed)


def train(scans: Path, protocol: str, seed: int) -> None:
    if protocol in OFFICIAL:
        division = {"split.leaks": protocol}
    else:
        division = {"split.protocol": protocol, "split.folds": FOLDS, "split.fold": seed + 1}
    prepare(folder(protocol, seed), MODEL | division | {"seed": seed}, {"data/scans": scans / "data/scans"})
    for stage in STAGES:
        run(stage, folder(protocol, seed))


if __name__ == "__main__":
    main()
