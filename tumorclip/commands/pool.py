"""One score from several runs: all folds of a cross-validation, or trainings that differ in their seed.

dvc exp run --queue -S split.protocol=grouped -S split.folds=5 -S 'split.fold=1,2,3,4,5'
dvc queue start
python -m tumorclip.commands.pool RUN RUN ...

A run is a DVC revision, the name of an experiment, or `workspace`.
"""

import argparse

import numpy as np

from tumorclip.commands.runs import class_names, finish, read_params, read_predictions
from tumorclip.errors import UserError
from tumorclip.evaluate.intervals import Interval
from tumorclip.evaluate.pool import Pooled, Run, pool


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tumorclip.commands.pool",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", metavar="RUN", nargs="+")
    names = parser.parse_args().runs
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{twice[0]} is named twice")
    runs = [Run(name, read_params(name), read_predictions(name)) for name in names]
    classes = class_names(runs[0].rows)
    for run in runs[1:]:
        if class_names(run.rows) != classes:
            known = f"{', '.join(classes)}; {', '.join(class_names(run.rows))}"
            raise UserError(f"{names[0]} and {run.name} know different classes: {known}")
    _print(pool(runs, classes), len(runs))


def _print(pooled: Pooled, runs: int) -> None:
    folds, seeds = len(pooled.by_fold), len(pooled.by_seed)
    what = f"{folds} fold{'s' * (folds > 1)}, {seeds} training seed{'s' * (seeds > 1)}"
    print(f"{what}: {pooled.scans:,} test scans in {pooled.groups:,} groups of copies")
    if folds > 1 and not pooled.out_of_fold:
        print(
            "Every fold was tested on the same, published test set: what follows is the mean over the trained models."
        )
    width = max(len(score.name) for score in pooled.scores) + 2
    print(f"\n{'':<{width}}   value   95 % interval over groups of copies")
    for score in pooled.scores:
        print(f"{score.name:<{width}}{_number(score.value):>8}   {_interval(score.interval)}")
    print()
    if folds > 1:
        remark = "folds share training scans, so this is no confidence interval"
        print(f"Accuracy of single folds:  {_spread(pooled.by_fold)} ({remark})")
    if seeds > 1:
        deviation = np.std(list(pooled.by_seed.values()), ddof=1)
        print(f"Accuracy of single seeds:  {_spread(pooled.by_seed)} (standard deviation {deviation:.4f})")
    print(f"\n{_sentence(pooled, runs)}")


def _sentence(pooled: Pooled, runs: int) -> str:
    accuracy = pooled.scores[0]
    low, high = accuracy.interval.low, accuracy.interval.high
    between = f", 95 % interval {100 * low:.1f} to {100 * high:.1f}" if low is not None else ""
    model = "The trained model is" if runs == 1 else f"The {runs} trained models are"
    return (
        f"{model} right on {100 * accuracy.value:.1f} % of these test scans{between}.\n"
        "The interval says what other scans of the same kind would change, not what another training would."
    )


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4f}"


def _interval(interval: Interval) -> str:
    return interval.reason or f"{interval.low:.4f} to {interval.high:.4f} ({interval.method})"


def _spread(accuracies: dict[int, float]) -> str:
    return f"{min(accuracies.values()):.4f} to {max(accuracies.values()):.4f}"


if __name__ == "__main__":
    finish(main)
