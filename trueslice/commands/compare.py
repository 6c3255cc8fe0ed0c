"""Test if experiments really differ, from their predictions on the same test scans.

  trueslice compare A B                 two trained models
  trueslice compare A1,A2,A3 B1,B2,B3   two methods, each with three runs or more that differ in their seed
  trueslice compare A B C               B and C, each against A, with p-values adjusted for their number

Scans of one patient, and copies of one scan, err together. So patients count as independent units, and groups
of copies where no patient is known.
"""

import argparse
from collections.abc import Mapping, Sequence
from itertools import combinations
from string import ascii_uppercase as LETTERS

import numpy as np

from trueslice.commands.revisions import Units, read_device, read_predictions, units, unknown_patients
from trueslice.commands.text import aligned, interval_text, paragraph, share
from trueslice.errors import UserError
from trueslice.evaluate.compare import FEW, METHODS, SIGNIFICANT, Comparison, compare, holm, pair
from trueslice.evaluate.intervals import Interval
from trueslice.report.format import counted
from trueslice.tables.predictions import Predictions

LISTED = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="a run, or several with commas between them, one per seed")
    parser.add_argument("b", metavar="B", nargs="+", help="the same; each is compared with A")
    parser.add_argument("--all", action="store_true", help=f"list every scan they disagree on, not the first {LISTED}")


def run(options: argparse.Namespace) -> None:
    sides = [side.split(",") for side in (options.a, *options.b)]
    if len(sides) > len(LETTERS):
        raise UserError(f"at most {len(LETTERS)} sides can be compared at once")
    runs = _read(sides)
    comparisons = [compare(runs, sides[0], side) for side in sides[1:]]
    adjusted = holm([comparison.p_value for comparison in comparisons])
    scans = runs[sides[0][0]]
    unit = units(scans)

    for letter, side in zip(LETTERS, sides, strict=False):
        print(f"{letter}  {', '.join(side)}")
    print(paragraph(unit.scans))
    if machines := _machines(sides):
        print(paragraph(machines))
    for letter, comparison, p_value in zip(LETTERS[1:], comparisons, adjusted, strict=False):
        print()
        _print_scores(comparison, letter, unit)
        if len(comparisons) > 1:
            _print_p_value(f"Adjusted for {len(comparisons)} comparisons (Holm)", p_value)
        print(f"\n{paragraph(_verdict(comparison, letter, p_value))}")
        print(paragraph(_concerns(comparison), _caution(comparison, unit), unknown_patients(scans)))
        _print_disagreements(scans, comparison, letter, len(scans) if options.all else LISTED)


def _read(sides: Sequence[Sequence[str]]) -> Mapping[str, Predictions]:
    names = [name for side in sides for name in side]
    if not all(names):
        raise UserError("a name of a run is empty; write the runs of one side as A1,A2,A3 without spaces")
    runs = pair(read_predictions(names))
    contents = {name: predictions.text() for name, predictions in runs.items()}
    for side in sides:
        for one, other in combinations(side, 2):
            if contents[one] == contents[other]:
                raise UserError(f"{one} and {other} are the same run; runs on one side must differ in their seed")
    return runs


def _machines(sides: Sequence[Sequence[str]]) -> str | None:
    """Return the sentence on runs that were trained on different machines."""
    devices = {name: device for side in sides for name in side if (device := read_device(name))}
    if len(set(devices.values())) < 2:
        return None
    trained = "; ".join(f"{name} on {device}" for name, device in devices.items())
    return f"Trained on different machines, which can change the results: {trained}."


def _print_scores(comparison: Comparison, letter: str, unit: Units) -> None:
    rows = [("", "A", letter, f"{letter} - A", "95 % interval, in points")]
    for name, (a, b, difference, interval, _) in comparison.scores.items():
        rows.append((name, share(a), share(b), _points(difference), _interval(interval)))
    print(f"{aligned(rows, '<>>><')}\n")
    if comparison.of_methods:
        _print_p_value(f"t-test over seeds and {unit.plural}", comparison.p_value)
        _print_p_value("Sign-flip test, trained models as given", comparison.sign_flip)
    else:
        _print_p_value(f"Sign-flip test over {unit.plural}", comparison.sign_flip)
    if comparison.mcnemar:
        p_value, only_a, only_b = comparison.mcnemar
        remark = f"  (right alone: A {only_a}, {letter} {only_b})"
        _print_p_value(f"McNemar's test, one scan per {unit.name}", p_value, remark)


def _print_p_value(test: str, p_value: float, remark: str = "") -> None:
    value = "none" if np.isnan(p_value) else "< 0.0001" if p_value < 0.0001 else f"= {p_value:.4f}"
    print(f"{test:<40} p {value}{remark}")


def _verdict(comparison: Comparison, letter: str, p_value: float) -> str:
    _, _, difference, interval, _ = comparison.scores["accuracy"]
    within = "" if interval.reason else f", 95 % interval {_interval(interval)}"
    includes_0 = interval.low is not None and interval.high is not None and interval.low <= 0 <= interval.high
    finding = f"{letter} is {'better' if difference > 0 else 'worse'}"
    if not p_value < SIGNIFICANT or includes_0:  # also if it is NaN
        finding = "No difference is shown"
    return f"{finding}: {letter} minus A is {_points(difference)} points of accuracy{within}."


def _concerns(comparison: Comparison) -> str:
    if comparison.of_methods:
        return f"This concerns two methods, with {' and '.join(map(str, comparison.runs))} seeds."
    return (
        "This concerns trained models and not the methods behind them, because what one training reaches varies with "
        f"its seed. To compare methods, give {METHODS} runs or more on both sides, one per seed."
    )


def _caution(comparison: Comparison, unit: Units) -> str | None:
    if comparison.of_methods or comparison.differ >= FEW:
        return None
    return f"Few {unit.plural} differ ({comparison.differ}); the interval tends to be too narrow then, the tests hold."


def _print_disagreements(scans: Predictions, comparison: Comparison, letter: str, listed: int) -> None:
    disagree = comparison.disagree
    if len(disagree) == 0:
        print("\nThey disagree on no scan.")
        return
    first = f"; the first {listed}" if len(disagree) > listed else ""
    print(f"\nThey disagree on {counted(len(disagree), 'scan')}{first}:")
    rows = [("class", "A", letter, "scan")]
    for scan in disagree[np.argsort(scans.path[disagree])][:listed]:
        votes = (_votes(side[scan], scans.class_names) for side in comparison.votes)
        rows.append((scans.class_names[scans.y_true[scan]], *votes, scans.path[scan]))
    print(aligned(rows, "<<<<"))


def _votes(votes: np.ndarray, names: Sequence[str]) -> str:
    winner = int(votes.argmax())
    return names[winner] + (f" {votes[winner]}/{votes.sum()}" if votes.sum() > 1 else "")


def _points(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:+.1f}"


def _interval(interval: Interval) -> str:
    return interval_text(interval, lambda end: f"{100 * end:+.1f}")
