"""Coverage, misses on either side and widths of the intervals of scores near 1.

python -m research.simulations.near_one

It writes results/near_one.json. A unit has 1 to 12 scans of one class. Two scans of a unit have the given correlation:
what they share is normal, or heavy-tailed as Student's t with 3 degrees of freedom, so that a few units decide.
For AUROC and the ROC curve a quarter of the units shows a tumour. For the other scores there are four classes of equal
size, with logits as in coverage.py.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np

from research.markdown import percent, table
from research.simulations.coverage import REPEATS, held, of_scans, predicted
from trueslice.evaluate import metrics
from trueslice.evaluate.intervals import ConfusionBootstrap, Estimate, GroupBootstrap, score_interval
from trueslice.evaluate.tumour import FALSE_ALARMS, roc_curve
from trueslice.files import write_json
from trueslice.tables.predictions import Predictions

RESULTS = Path(__file__).parent / "results/near_one.json"
UNITS = (20, 50, 100, 200)
MOST_SCANS = 12  # of a unit
AUROCS = (0.9, 0.97, 0.99, 0.998)
KINDS = tuple(product((0.3, 0.8), (False, True)))  # correlation, and whether it is heavy-tailed
LEVELS = (2.4, 3.4)  # more of the true class's logit: accuracy about 0.89 and 0.98
SCORE_UNITS = (20, 50, 100)
SCORE_REPEATS = 1000
OF_ALL_CLASSES = ("balanced_accuracy", "macro_precision", "macro_f1", "mcc", "cohen_kappa")
LOWER_IS_BETTER = ("risk_coverage_area", "nll", "brier")
CURVE_AUROCS = (0.9, 0.97, 0.998)
CURVE_REPEATS = 500
SHOWN = (0.02, 0.05, 0.1, 0.2)  # false alarms at which the band of the ROC curve is checked
POPULATION = 1_000_000


def drawn_units(random: np.random.Generator, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Units of scans, int [N], and whether they show a tumour, bool [N]; in a quarter of the units they do."""
    unit = np.repeat(np.arange(units), random.integers(1, MOST_SCANS + 1, units))
    return unit, unit < units // 4


@lru_cache
def shift_of(auroc: float, correlation: float, heavy: bool) -> float:
    """Find by how much the scores of tumours are higher."""
    random, alone = np.random.default_rng(1), np.arange(4 * POPULATION)
    a, b = (of_scans(random, alone, 1, correlation, heavy)[:, 0] for _ in range(2))
    return float(np.quantile(a - b, auroc))


def auroc_coverage(units: int, auroc: float, correlation: float, heavy: bool, repeats: int = REPEATS) -> dict:
    """Coverage of the interval of an AUROC."""
    random, shift, intervals = np.random.default_rng(0), shift_of(auroc, correlation, heavy), []
    for _ in range(repeats):
        unit, is_tumour = drawn_units(random, units)
        scores = of_scans(random, unit, 1, correlation, heavy)[:, 0] + shift * is_tumour
        intervals.append(auroc_estimate(unit, is_tumour, scores).interval)
    return held(intervals, auroc)


def auroc_estimate(unit: np.ndarray, is_tumour: np.ndarray, scores: np.ndarray) -> Estimate:
    """Estimate an AUROC as `GroupBootstrap.estimate` does, but faster: for units of one class and no equal scores."""
    tumours, others = np.sort(scores[is_tumour]), np.sort(scores[~is_tumour])
    # With how many scans of the other side each scan is in the right order.
    right = np.where(
        is_tumour, np.searchsorted(others, scores), len(tumours) - np.searchsorted(tumours, scores, side="right")
    )
    sides = np.array([np.bincount(unit, weights=side) for side in (is_tumour, ~is_tumour)])
    total, pairs = right[is_tumour].sum(), (sides.sum(axis=1, keepdims=True) - sides).prod(axis=0)
    value, without = total / (len(tumours) * len(others)), (total - np.bincount(unit, weights=right)) / pairs
    return Estimate(value, score_interval("auroc", value, without, sides))


def curve_coverage(units: int, auroc: float, correlation: float, heavy: bool, repeats: int = CURVE_REPEATS) -> list:
    """Coverage of the band of the ROC curve at each of the false alarms `SHOWN`."""
    random, shift = np.random.default_rng(0), shift_of(auroc, correlation, heavy)
    many = of_scans(np.random.default_rng(1), np.arange(POPULATION), 1, correlation, heavy)[:, 0]
    truth = [(many + shift > least).mean() for least in np.quantile(many, 1 - np.array(SHOWN))]
    at, bands = np.searchsorted(FALSE_ALARMS, np.array(SHOWN) - 1e-9), []
    for _ in range(repeats):
        unit, is_tumour = drawn_units(random, units)
        scores = of_scans(random, unit, 1, correlation, heavy)[:, 0] + shift * is_tumour
        points = roc_curve(is_tumour, scores, GroupBootstrap(unit))
        bands.append([points[index] for index in at])
    rows = zip(SHOWN, truth, zip(*bands, strict=True), strict=True)
    return [
        {"false_alarms": alarms, "true": round(float(value), 4)} | held(points, value) for alarms, value, points in rows
    ]


def estimates(predictions: Predictions) -> dict[str, Estimate]:
    """Scores that are no shares, with their intervals, as the stage evaluate makes them."""
    bootstrap, confusions = GroupBootstrap(predictions.unit), ConfusionBootstrap([predictions])
    y_true, shares = predictions.y_true, predictions.probabilities
    found = {name: confusions.estimate(getattr(metrics, name)) for name in OF_ALL_CLASSES}
    found["f1, glioma"] = confusions.estimates(metrics.f1)[0]
    for metric in (metrics.auroc, metrics.average_precision):
        macro, glioma, *_ = bootstrap.ranking(metric, y_true[:, None] == np.arange(4), shares)
        found |= {f"macro_{metric.__name__}": macro, f"{metric.__name__}, glioma": glioma}
    found["risk_coverage_area"] = bootstrap.estimate(
        metrics.risk_coverage_area, predictions.y_pred != y_true, shares.max(axis=1)
    )
    losses = {name: getattr(metrics, name)(y_true, shares) for name in ("nll", "brier")}
    return found | {name: bootstrap.loss(name, values, y_true) for name, values in losses.items()}


def score_coverage(
    units: int, level: float, correlation: float, heavy: bool, repeats: int = SCORE_REPEATS
) -> list[dict]:
    """Coverage of the intervals of all scores that are no shares, for predictions of four classes."""
    random = np.random.default_rng(0)
    many = predicted(random, [np.ones(POPULATION // 20, int)] * 4, level, correlation, heavy)
    truth = estimates(replace(many, unit=np.arange(len(many)) % 4))  # four units: the intervals are not looked at
    seen: dict[str, list] = {name: [] for name in truth}
    for _ in range(repeats):
        sizes = [random.integers(1, MOST_SCANS + 1, units // 4) for _ in range(4)]
        for name, estimate in estimates(predicted(random, sizes, level, correlation, heavy)).items():
            seen[name].append(estimate.interval)
    return [
        {"score": name, "true": round(each.value, 4)} | held(seen[name], each.value) for name, each in truth.items()
    ]


def aurocs() -> list[dict]:
    return [_case(*case) | auroc_coverage(*case) for case in _cases(UNITS, AUROCS)]


def scores() -> list[dict]:
    return [_case(*case) | row for case in _cases(SCORE_UNITS, LEVELS) for row in score_coverage(*case)]


def curves() -> list[dict]:
    return [_case(*case) | row for case in _cases(UNITS, CURVE_AUROCS) for row in curve_coverage(*case)]


def _cases(units: Sequence[int], levels: Sequence[float]) -> list[tuple[int, float, float, bool]]:
    return [(count, level, *kind) for count in units for level in levels for kind in KINDS]


def _case(units: int, level: float, correlation: float, heavy: bool) -> dict:
    return {"units": units, "level": level, "correlation": correlation, "heavy": heavy}


def tables(results: dict) -> str:
    """Return the tables of README.md: of AUROC, of other scores, and of the band of the ROC curve."""
    kinds = [f"{correlation}{', heavy' if heavy else ''}" for correlation, heavy in KINDS]
    of_auroc = [
        [units, level, *(_cell([row]) for row in results["auroc"] if (row["units"], row["level"]) == (units, level))]
        for units, level in product(UNITS, AUROCS)
    ]
    of_scores = [
        [name, *(_cell(_among(results["scores"], score=name, units=units)) for units in SCORE_UNITS)]
        for name in dict.fromkeys(row["score"] for row in results["scores"])
    ]
    of_curves = [
        [units, *(_cell(_among(results["curve"], units=units, false_alarms=alarms)) for alarms in SHOWN)]
        for units in UNITS
    ]
    parts = (
        table(["units", "AUROC", *kinds], of_auroc),
        table(["score", *(f"{units} units" for units in SCORE_UNITS)], of_scores),
        table(["units", *(f"{100 * alarms:.0f} % false alarms" for alarms in SHOWN)], of_curves),
    )
    return "\n\n".join(parts)


def _among(rows: Sequence[dict], **wanted) -> list[dict]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def _cell(rows: Sequence[dict]) -> str:
    """Return the worst of the cases: coverage (optimistic, pessimistic misses); median and 95th percentile of width."""
    low_is_better = rows[0].get("score") in LOWER_IS_BETTER
    sides = ("too_low", "too_high") if low_is_better else ("too_high", "too_low")
    misses = ", ".join(f"{100 * max(row[side] for row in rows):.1f}" for side in sides)
    widths = ", ".join(f"{100 * max(row[width] for row in rows):.0f}" for width in ("width", "width_p95"))
    return f"{percent(min(row['covers'] for row in rows))} ({misses}); {widths}"


def main() -> None:
    results = {"command": "python -m research.simulations.near_one", "repeats": REPEATS}
    results |= {"score_repeats": SCORE_REPEATS, "curve_repeats": CURVE_REPEATS}
    results |= {"auroc": aurocs(), "scores": scores(), "curve": curves()}
    write_json(RESULTS, results)
    print(tables(results))


if __name__ == "__main__":
    main()
