r"""One score from several runs: all folds of a cross-validation, or trainings that differ in their seed.

  dvc exp run --queue -S split.protocol=patients -S split.folds=5 \
    -S 'split.fold=1,2,3,4,5' -S 'seed=0,1,2'
  dvc queue start
  trueslice pool RUN RUN ...

Every fold must be there, with every seed. Scans of one patient, and copies of one scan, err together. So patients
count as independent units, and groups of copies where no patient is known.
"""

import argparse

import numpy as np

from trueslice.commands.revisions import Units, read_params, read_predictions, units, unknown_patients
from trueslice.commands.text import aligned, interval_text, paragraph, share
from trueslice.evaluate.intervals import Interval
from trueslice.evaluate.pool import Pooled, PooledRun, pool
from trueslice.report.format import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", help="one run for every fold and seed, in any order")


def run(options: argparse.Namespace) -> None:
    predictions = read_predictions(options.runs)
    pooled = pool([PooledRun(name, read_params(name), table) for name, table in predictions.items()])
    folds, unit = len(pooled.by_fold), units(pooled.predictions)
    print(f"{counted(folds, 'fold')}, {counted(len(pooled.by_seed), 'seed')}")
    print(paragraph(unit.scans))
    if folds > 1 and not pooled.out_of_fold:
        print(paragraph("Every fold was tested on the same scans: these are means over the trained models."))
    rows = [(name, share(score.value), _interval(score.interval)) for name, score in pooled.scores.items()]
    print(f"\n{aligned([('', 'value', f'95 % interval over {unit.plural}'), *rows], '<><')}")
    if folds > 1:
        print(f"\nAccuracy of single folds: {_spread(pooled.by_fold)}")
        print(paragraph("Folds share training scans, so this is not a confidence interval."))
    _print_seeds(pooled, unit)
    accuracy, (low, high, *_) = pooled.scores["accuracy"]
    between = "" if low is None or high is None else f", 95 % interval {100 * low:.1f} to {100 * high:.1f}"
    models = "The trained model is" if len(predictions) == 1 else f"The {len(predictions)} trained models are"
    right = f"{models} right on {100 * accuracy:.1f} % of these test scans{between}."
    others = "patients" if unit.name == "patient" else "scans"
    says = f"The interval says what other {others} of the same kind would change, not what another training would."
    print(f"\n{paragraph(right, says, unknown_patients(pooled.predictions))}")


def _print_seeds(pooled: Pooled, unit: Units) -> None:
    accuracies = list(pooled.by_seed.values())
    if len(accuracies) == 1:
        return
    print(
        f"\nAccuracy of single seeds: {_spread(pooled.by_seed)} (standard deviation {np.std(accuracies, ddof=1):.4f})"
    )
    if pooled.over_seeds and pooled.over_both:
        print(f"Their mean: {np.mean(accuracies):.4f}, 95 % interval")
        both = f"  over other seeds and {unit.plural}"
        rows = [("  over other seeds", interval_text(pooled.over_seeds)), (both, interval_text(pooled.over_both))]
        print(aligned(rows, "<<"))


def _interval(interval: Interval) -> str:
    return interval_text(interval) + ("" if interval.reason else f" ({interval.method})")


def _spread(accuracies: dict[int, float]) -> str:
    return f"{min(accuracies.values()):.4f} to {max(accuracies.values()):.4f}"
