"""Broken promises of the threshold below which answers are withheld, beside those of plain ways to choose one.

python -m research.simulations.withheld

It writes results/withheld.json. A unit has 1 to 12 scans. A scan has a margin: the answer is right where it is
positive, and the confidence grows with its size. Two margins of a unit have the given correlation: what they share is
normal, or heavy-tailed as Student's t with 3 degrees of freedom. With 14 epochs, validation also chooses the epoch, as
in training: the one that is right most often. The margins of a scan in two epochs correlate by 0.9.
"""

from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from research.markdown import table
from research.simulations.coverage import of_scans
from research.simulations.near_one import MOST_SCANS, POPULATION
from trueslice.evaluate.intervals import effective_size
from trueslice.evaluate.withheld import SHARES, fewest, lowest_threshold
from trueslice.files import write_json

RESULTS = Path(__file__).parent / "results/withheld.json"
REPEATS = 1000
UNITS = (50, 100, 200)
ACCURACIES = (0.85, 0.92, 0.97)
MAX_ERRORS = (0.05, 0.1)
OF_EPOCHS = 0.9  # correlation of the margins of a scan in two epochs
WAYS = {
    "ours": "ours",
    "naive": "error on validation at most that",
    "scans": "ours, each scan a unit",
}


class Kind(NamedTuple):
    """A kind of data: the correlation within a unit, its tails, and the epochs of which validation chooses one."""

    correlation: float
    heavy: bool = False
    epochs: int = 1

    def __str__(self) -> str:
        epochs = f", {self.epochs} epochs" if self.epochs > 1 else ""
        return f"{self.correlation}{', heavy' if self.heavy else ''}{epochs}"


KINDS = (Kind(0.6), Kind(0.6, epochs=14), Kind(0.8, heavy=True), Kind(0.95))


class Truth(NamedTuple):
    """Confidences of very many scans, sorted, of right and of wrong answers, and the margin's mean."""

    right: np.ndarray
    wrong: np.ndarray
    mean: float

    @classmethod
    def of(cls, accuracy: float, kind: Kind) -> "Truth":
        """Draw scans, each of a unit of its own."""
        margins = of_scans(np.random.default_rng(1), np.arange(POPULATION), 1, kind.correlation, kind.heavy)[:, 0]
        mean = float(-np.quantile(margins, 1 - accuracy))
        confidence, is_right = expit(abs(margins + mean)), margins + mean > 0
        return cls(np.sort(confidence[is_right]), np.sort(confidence[~is_right]), mean)

    def at(self, threshold: float) -> tuple[float, float]:
        """Return the share of all scans that are answered, and of these the share that is wrong."""
        right, wrong = (len(side) - np.searchsorted(side, threshold) for side in (self.right, self.wrong))
        return (right + wrong) / (len(self.right) + len(self.wrong)), wrong / (right + wrong)


def drawn(random: np.random.Generator, units: int, kind: Kind, mean: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw validation scans: their units, int [N], and their margins in the chosen epoch, float64 [N]."""
    unit = np.repeat(np.arange(units), random.integers(1, MOST_SCANS + 1, units))
    margins = of_scans(random, unit, 1, kind.correlation, kind.heavy)[:, 0]
    if kind.epochs > 1:
        own = np.stack([of_scans(random, unit, 1, kind.correlation)[:, 0] for _ in range(kind.epochs)])
        every = np.sqrt(OF_EPOCHS) * margins + np.sqrt(1 - OF_EPOCHS) * own
        margins = every[(every > -mean).sum(axis=1).argmax()]
    return unit, margins + mean


def thresholds(unit: np.ndarray, margins: np.ndarray, max_error: float) -> dict[str, float | None]:
    """Choose a threshold in each of the `WAYS`."""
    confidence, wrong = expit(abs(margins)), margins <= 0
    found = {"ours": None, "scans": lowest_threshold(confidence, wrong, np.arange(len(unit)), max_error)[0]}
    if effective_size(np.bincount(unit)) >= fewest(max_error):
        found["ours"] = lowest_threshold(confidence, wrong, unit, max_error)[0]
    candidates = np.quantile(confidence, 1 - SHARES)
    held = [least for least in candidates.tolist() if wrong[confidence >= least].mean() <= max_error]
    return found | {"naive": min(held, default=None)}


def promises(accuracy: float, kind: Kind, units: int, repeats: int = REPEATS) -> list[dict]:
    """Count promises that were made and those that are broken; `answered` is 0 where none was made."""
    truth, random = Truth.of(accuracy, kind), np.random.default_rng(0)
    counts = {key: np.zeros(3) for key in product(WAYS, MAX_ERRORS)}
    for _ in range(repeats):
        unit, margins = drawn(random, units, kind, truth.mean)
        for max_error in MAX_ERRORS:
            for way, threshold in thresholds(unit, margins, max_error).items():
                if threshold is not None:
                    answered, wrong = truth.at(threshold)
                    counts[way, max_error] += [wrong > max_error, 1, answered]
    case = {"accuracy": accuracy, "units": units, "kind": str(kind)}
    return [
        case | {"way": way, "max_error": max_error}
        | dict(zip(("broken", "made", "answered"), (found / repeats).round(4).tolist(), strict=True))
        for (way, max_error), found in counts.items()
    ]  # fmt: skip


def tables(results: dict) -> str:
    """Return the tables of README.md: our promises in each case, and the broken ones of all ways in the worst case."""
    rows = {(row["way"], row["max_error"], row["accuracy"], row["units"], row["kind"]): row for row in results["rows"]}
    kinds = list(map(str, KINDS))
    ours = [
        [f"{100 * case[0]:g} %", case[1], case[2], *(_cell(rows["ours", *case, kind]) for kind in kinds)]
        for case in product(MAX_ERRORS, ACCURACIES, UNITS)
    ]
    worst = [
        [f"{100 * max_error:g} %", title, *(_span([row for key, row in rows.items() if key[:2] == (way, max_error)
                                                   and key[-1] == kind]) for kind in kinds)]
        for max_error, (way, title) in product(MAX_ERRORS, WAYS.items())
    ]  # fmt: skip
    first = table(["errors", "accuracy", "units", *kinds], ours)
    return first + "\n\n" + table(["errors", "threshold", *kinds], worst)


def _cell(row: dict) -> str:
    return " / ".join(f"{100 * row[key]:.{digits}f}" for key, digits in (("broken", 1), ("made", 0), ("answered", 0)))


def _span(rows: list[dict]) -> str:
    shares = [100 * row["broken"] for row in rows]
    return f"{min(shares):.1f} to {max(shares):.1f} %"


def main() -> None:
    rows = [row for case in product(ACCURACIES, KINDS, UNITS) for row in promises(*case)]
    results = {"command": "python -m research.simulations.withheld", "repeats": REPEATS, "rows": rows}
    write_json(RESULTS, results)
    print(tables(results))


if __name__ == "__main__":
    main()
