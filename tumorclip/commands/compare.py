"""Say whether experiments really differ, from their predictions on the same test scans.

python -m tumorclip.commands.compare A B                 two runs: DVC revisions or names of experiments, or `workspace`
python -m tumorclip.commands.compare A1,A2,A3 B1,B2,B3   two methods, each with several runs that differ in their seed
python -m tumorclip.commands.compare A B C               B and C, each against A, with p-values adjusted for their number
"""

import argparse
import string

from tumorclip.commands.runs import class_names, finish, read_predictions
from tumorclip.errors import UserError
from tumorclip.evaluate.compare import SIGNIFICANT, Comparison, Paired, compare, holm, pair
from tumorclip.evaluate.intervals import FEW_GROUPS, Interval

LISTED = 10


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tumorclip.commands.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", metavar="A", help="a run, or several with commas between them, one per seed")
    parser.add_argument("b", metavar="B", nargs="+", help="the same; each is compared with A")
    parser.add_argument("--all", action="store_true", help=f"list every scan they disagree on, not the first {LISTED}")
    options = parser.parse_args()

    sides = [side.split(",") for side in (options.a, *options.b)]
    if len(sides) > len(string.ascii_uppercase):
        raise UserError(f"at most {len(string.ascii_uppercase)} sides can be compared at once")
    paired = _read(sides)
    comparisons = [compare(paired, sides[0], side) for side in sides[1:]]
    adjusted = holm([comparison.p_value for comparison in comparisons])

    for letter, side in zip(string.ascii_uppercase, sides, strict=False):
        print(f"{letter}  {', '.join(side)}")
    print(f"{len(paired.actual):,} test scans in {paired.groups.max() + 1:,} groups of copies")
    for letter, comparison, p_value in zip(string.ascii_uppercase[1:], comparisons, adjusted, strict=False):
        print()
        _print_scores(comparison, letter)
        if len(comparisons) > 1:
            _print_p_value(f"Adjusted for {len(comparisons)} comparisons (Holm)", p_value)
        print(f"\n{_verdict(comparison, letter, p_value)}")
        if paired.groups.max() + 1 < FEW_GROUPS:
            print(f"With fewer than {FEW_GROUPS} groups the interval tends to be too narrow; the tests hold.")
        _print_disagreements(paired, comparison, letter, len(paired.actual) if options.all else LISTED)


def _read(sides: list[list[str]]) -> Paired:
    names = [name for side in sides for name in side]
    if not all(names):
        raise UserError("a name of a run is empty; write the runs of one side as A1,A2,A3 without spaces")
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{twice[0]} is named twice; every run may stand on one side once")
    runs = {name: read_predictions(name) for name in names}
    first = names[0]
    for name in names[1:]:
        if class_names(runs[name]) != class_names(runs[first]):
            raise UserError(
                f"{first} and {name} know different classes: {', '.join(class_names(runs[first]))}; "
                f"{', '.join(class_names(runs[name]))}"
            )
    for side in sides:
        for number, name in enumerate(side):
            for other in side[:number]:
                if runs[name] == runs[other]:
                    raise UserError(f"{other} and {name} are the same run; runs on one side must differ in their seed")
    return pair(runs, class_names(runs[first]))


def _print_scores(comparison: Comparison, letter: str) -> None:
    print(f"{'':<12}{'A':>9}{letter:>9}{f'{letter} - A':>10}   95 % interval, in points")
    for name, score in comparison.scores.items():
        print(
            f"{name:<12}{_share(score.a):>9}{_share(score.b):>9}{_points(score.difference):>10}"
            f"   {_interval(score.interval)}"
        )
    print()
    models = "" if comparison.runs == (1, 1) else ", of these trained models"
    _print_p_value(f"Sign-flip test over groups{models}", comparison.sign_flip)
    if comparison.mcnemar:
        p_value, only_a, only_b = comparison.mcnemar
        right = f"   (right: A alone {only_a}, {letter} alone {only_b})"
        _print_p_value("McNemar's exact test, one scan per group", p_value, right)
    else:
        _print_p_value("Bootstrap over groups and seeds", comparison.p_value)


def _print_p_value(test: str, p_value: float, remark: str = "") -> None:
    print(f"{test:<51} p {'< 0.0001' if p_value < 0.0001 else f'= {p_value:.4f}'}{remark}")


def _verdict(comparison: Comparison, letter: str, p_value: float) -> str:
    score = comparison.scores["accuracy"]
    low, high = score.interval.low, score.interval.high
    if low == high:
        found = f"{letter} minus A is {_points(score.difference)} points of accuracy in every resample."
    elif p_value < SIGNIFICANT and (low > 0 or high < 0):
        nearest, farthest = sorted((abs(low), abs(high)))
        kind = "better" if score.difference > 0 else "worse"
        found = (
            f"{letter} is {kind} by {100 * abs(score.difference):.1f} points of accuracy, "
            f"95 % interval {100 * nearest:.1f} to {100 * farthest:.1f}."
        )
    else:
        found = (
            f"No difference is shown: {letter} minus A is {_points(score.difference)} points of accuracy, "
            f"95 % interval {_interval(score.interval)}."
        )
    if min(comparison.runs) > 1:
        return f"{found}\nThis concerns two methods, with {' and '.join(map(str, comparison.runs))} seeds."
    return (
        f"{found}\nThis concerns trained models and not the methods behind them: what one training reaches\n"
        "varies with its seed. Give several runs per side, one per seed, to compare methods."
    )


def _print_disagreements(paired: Paired, comparison: Comparison, letter: str, listed: int) -> None:
    disagree = comparison.disagree
    if len(disagree) == 0:
        print("\nThey disagree on no scan.")
        return
    print(f"\nThey disagree on {len(disagree):,} scans" + (f"; the first {listed}:" if len(disagree) > listed else ":"))
    rows = [("actual", "A", letter, "scan")] + [
        (
            paired.class_names[paired.actual[scan]],
            *(_votes(side[scan], paired.class_names) for side in comparison.votes),
            paired.paths[scan],
        )
        for scan in sorted(disagree, key=lambda scan: paired.paths[scan])[:listed]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))


def _votes(votes, names: list[str]) -> str:
    winner = votes.argmax()
    return names[winner] + (f" {votes[winner]}/{votes.sum()}" if votes.sum() > 1 else "")


def _share(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"


def _points(value: float) -> str:
    return "-" if value != value else f"{100 * value:+.1f}"


def _interval(interval: Interval) -> str:
    return interval.reason or f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"


if __name__ == "__main__":
    finish(main)
