"""Test if experiments really differ, from their predictions on the same test scans.

  trueslice compare A B                 two trained models
  trueslice compare A1,A2,A3 B1,B2,B3   two methods, three or more seeds each
  trueslice compare A B C               each against A (Holm's p-values)

Scans of one patient, and copies of one scan, err together. So patients count as independent units, and groups
of copies where no patient is known.
"""

import argparse
from collections.abc import Mapping, Sequence
from itertools import combinations
from string import ascii_uppercase as LETTERS

import numpy as np

from trueslice.commands.making import finished_runs, read_made
from trueslice.commands.revisions import Units, read_device, read_predictions, units, unknown_patients
from trueslice.commands.text import aligned, interval_text, paragraph, share
from trueslice.errors import UserError
from trueslice.evaluate.compare import FEW, METHODS, SIGNIFICANT, Comparison, compare, holm, pair
from trueslice.evaluate.intervals import Interval
from trueslice.evaluate.sides import DIVISION, Made, differing, left_out, listed, not_one_method
from trueslice.files import printable
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
    made = [[read_made(name) for name in side] for side in sides]
    problems = [_no_methods(made[0], side) for side in made[1:]]
    comparisons = [
        compare(runs, sides[0], side, of_methods=not problem) for side, problem in zip(sides[1:], problems, strict=True)
    ]
    adjusted = holm([comparison.p_value for comparison in comparisons])
    scans = runs[sides[0][0]]
    unit = units(scans)

    for letter, side in zip(LETTERS, sides, strict=False):
        print(printable(f"{letter}  {', '.join(side)}"))
    print(paragraph(unit.scans))
    if machines := _machines(sides):
        print(paragraph(machines))
    for place, (comparison, p_value) in enumerate(zip(comparisons, adjusted, strict=True)):
        letter = LETTERS[place + 1]
        print(f"\n{paragraph(_differing(made[0][0], made[place + 1][0], letter))}")
        _print_scores(comparison, letter, unit)
        if len(comparisons) > 1:
            _print_p_value(f"Adjusted for {len(comparisons)} comparisons (Holm)", p_value)
        print(f"\n{paragraph(_verdict(comparison, letter, p_value))}")
        concerns = problems[place] or _methods(made[0], made[place + 1])
        print(paragraph(concerns, _caution(comparison, unit), unknown_patients(scans)))
        _print_disagreements(scans, comparison, letter, len(scans) if options.all else LISTED)


def _read(sides: Sequence[Sequence[str]]) -> Mapping[str, Predictions]:
    names = [name for side in sides for name in side]
    if not all(names):
        raise UserError("a name of a run is empty; write the runs of one side as A1,A2,A3 without spaces")
    runs = pair(read_predictions(names))
    if len(names) > len(sides):
        contents = {name: predictions.text() for name, predictions in runs.items()}
        for one, other in combinations(names, 2):
            if contents[one] == contents[other]:
                raise UserError(f"{one} and {other} are the same run; name it once")
    return runs


def _differing(a: Made, b: Made, letter: str) -> str:
    """Return the sentence on what the first runs of both sides differ in."""
    names = [name for name in differing(a, b) if name in a.settings or name in b.settings]
    values = [f"{name} ({a.settings.get(name)}, {b.settings.get(name)})" for name in names]
    code = ["code"] * (a.code != b.code) + ["the downloaded checkpoint"] * (a.checkpoint != b.checkpoint)
    return f"A and {letter} differ in {listed([*values, *code]) or 'nothing'}."


def _no_methods(a: Sequence[Made], b: Sequence[Made]) -> str | None:
    """Return why a comparison is one of trained models, as sentences; None if each side is a method."""
    if len(a) == len(b) == 1:
        return (
            "This concerns trained models and not the methods behind them, because what one training reaches varies "
            f"with its seed. To compare methods, give {METHODS} runs or more on both sides, one per seed."
        )
    models = "So this concerns several trained models a side, and no methods."
    if problem := not_one_method(a) or not_one_method(b):
        return f"{problem}. {models}"
    if min(len(a), len(b)) < METHODS:
        return f"Methods need {METHODS} runs or more on both sides, one per seed. {models}"
    named = {run.name for run in (*a, *b)}
    others = [run for run in finished_runs() if run.name not in named]
    if names := left_out(a, others) + left_out(b, others):
        chosen = "Finished runs of the same method are left out, so the best may have been chosen"
        return f"{chosen}: {listed(names)}. {models}"
    return None


def _methods(a: Sequence[Made], b: Sequence[Made]) -> str:
    """Return the sentence on what is compared where each side is one method."""
    names = [name for name in differing(a[0], b[0]) if name != "seed"]
    if divided := [name for name in names if name.startswith(DIVISION)]:
        what = f"two divisions of the scans ({listed(divided)}), which says nothing of a method"
    else:
        what = "two methods" if names else "the same method twice"
    found = "So few seeds often miss a difference of 5 points (docs/comparing.md)." if max(len(a), len(b)) < 5 else ""
    return f"This concerns {what}, with {len(a)} and {len(b)} seeds. {found}".strip()


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
