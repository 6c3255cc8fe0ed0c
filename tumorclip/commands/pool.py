"""One score from several runs: all folds of a cross-validation, or trainings that differ in their seed.

  dvc exp run --queue -S split.protocol=grouped -S split.folds=5 -S 'split.fold=1,2,3,4,5'
  dvc queue start
  tumorclip pool RUN RUN ...

Every fold must be there, with every seed. The interval comes from resamples of whole groups of copies.
"""

import argparse

import numpy as np

from tumorclip.commands.runs import read_params, read_predictions, share
from tumorclip.evaluate.intervals import Interval
from tumorclip.evaluate.pool import Run, pool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", help="one run for every fold and seed, in any order")


def run(options: argparse.Namespace) -> None:
    predictions = read_predictions(options.runs)
    pooled = pool([Run(name, read_params(name), table) for name, table in predictions.items()])
    folds, seeds = len(pooled.by_fold), len(pooled.by_seed)
    what = f"{folds} fold{'s' * (folds > 1)}, {seeds} training seed{'s' * (seeds > 1)}"
    print(f"{what}: {pooled.scans:,} test scans in {pooled.groups:,} groups of copies")
    if folds > 1 and not pooled.out_of_fold:
        print("Every fold was tested on the same, published test set: these are means over the trained models.")
    width = max(map(len, pooled.scores)) + 2
    print(f"\n{'':<{width}}   value   95 % interval over groups of copies")
    for name, score in pooled.scores.items():
        print(f"{name:<{width}}{share(score.value):>8}   {_interval(score.interval)}")
    print()
    if folds > 1:
        remark = "folds share training scans, so this is not a confidence interval"
        print(f"Accuracy of single folds:  {_spread(pooled.by_fold)} ({remark})")
    if seeds > 1:
        deviation = np.std(list(pooled.by_seed.values()), ddof=1)
        print(f"Accuracy of single seeds:  {_spread(pooled.by_seed)} (standard deviation {deviation:.4f})")
    accuracy, (low, high, *_) = pooled.scores["accuracy"]
    between = f", 95 % interval {100 * low:.1f} to {100 * high:.1f}" if low is not None else ""
    models = "The trained model is" if len(predictions) == 1 else f"The {len(predictions)} trained models are"
    print(f"\n{models} right on {100 * accuracy:.1f} % of these test scans{between}.")
    print("The interval says what other scans of the same kind would change, not what another training would.")


def _interval(interval: Interval) -> str:
    return interval.reason or f"{interval.low:.4f} to {interval.high:.4f} ({interval.method})"


def _spread(accuracies: dict[int, float]) -> str:
    return f"{min(accuracies.values()):.4f} to {max(accuracies.values()):.4f}"
