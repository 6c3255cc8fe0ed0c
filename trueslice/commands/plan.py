"""How wide the 95 % interval of an accuracy will be with so many patients.

  trueslice plan                                          like the last run
  trueslice plan --accuracy 0.9 0.95 --patients 100 200   for these
  trueslice plan --scans 1                                of scores per patient

What is not given is taken from the predictions of a run: its accuracy, the
scans of its patients, and how often these are right or wrong together.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trueslice.commands.text import aligned, interval_text
from trueslice.errors import UserError
from trueslice.evaluate.intervals import GroupBootstrap
from trueslice.evaluate.plan import Design, design_of, expected
from trueslice.files import printable
from trueslice.tables.predictions import Predictions

PREDICTIONS = Path("plots/predictions.csv")
PATIENTS = (20, 50, 100, 200, 500, 1000, 2000)


def _number(allowed: Callable[[float], bool], said: str) -> Callable[[str], float]:
    """Return a reader of an argument, which refuses what is not `allowed`."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not allowed(number):
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {said}")
        return number

    return read


ACCURACY = _number(lambda number: 0 < number < 1, "a share between 0 and 1, such as 0.95")
COUNT = _number(lambda number: 2 <= number <= 1e9 and number % 1 == 0, "a whole number from 2")
SCANS = _number(lambda number: 1 <= number <= 1e6, "a number from 1")
CORRELATION = _number(lambda number: 0 <= number <= 1, "a number from 0 to 1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--accuracy", metavar="P", type=ACCURACY, nargs="+", help="that the model will reach")
    parser.add_argument("--patients", metavar="N", type=COUNT, nargs="+", default=PATIENTS, help="in the test set")
    parser.add_argument("--scans", metavar="M", type=SCANS, help="of each patient")
    parser.add_argument("--correlation", metavar="R", type=CORRELATION, help="of right and wrong within a patient")
    parser.add_argument("--like", metavar="CSV", type=Path, default=PREDICTIONS, help=f"in place of {PREDICTIONS}")


def run(options: argparse.Namespace) -> None:
    """Print the interval to expect for each number of patients and each accuracy."""
    accuracies, scans, unequal, correlation, source = options.accuracy, options.scans, 0.0, options.correlation, None
    if None in (accuracies, scans, correlation):
        source = _read(options.like)
        like = design_of(source)
        if not accuracies and not 0 < like.accuracy < 1:
            raise UserError(f"the answers in {printable(options.like)} are all right or all wrong; give --accuracy")
        accuracies = accuracies or [like.accuracy]
        scans, unequal = (like.scans, like.unequal) if scans is None else (scans, unequal)
        correlation = like.correlation if correlation is None else correlation
    print(f"95 % intervals in %, with {scans:.3g} scans a patient, correlated by {correlation:.2f}:\n")
    rows = [("patients", *(f"{100 * accuracy:.4g} %" for accuracy in accuracies))]
    for patients in options.patients:
        ends = (expected(Design(accuracy, scans, unequal, correlation), patients) for accuracy in accuracies)
        rows.append((f"{patients:,.0f}", *(f"{100 * low:.1f} to {100 * high:.1f}" for low, high in ends)))
    print(aligned(rows, ">" * len(rows[0])))
    if source:
        print(f"\n{printable(options.like)} itself: {_itself(source)}")


def _read(source: Path) -> Predictions:
    try:
        return Predictions.read(source)
    except OSError as error:
        others = "give --accuracy, --scans and --correlation, or another file by --like"
        raise UserError(f"{printable(source)} cannot be read: {error.strerror}; {others}") from None


def _itself(predictions: Predictions) -> str:
    """Return the number of units of a run, its accuracy and its interval."""
    bootstrap, right = GroupBootstrap(predictions.unit), predictions.y_pred == predictions.y_true
    value, interval = bootstrap.share(right, np.ones_like(right))
    ends = interval_text(interval, lambda end: f"{100 * end:.1f}")
    return f"{bootstrap.counts.shape[1]:,} units, {100 * value:.1f} %, {ends}"
