"""False alarms of `trueslice compare` on equal methods, and coverage of its intervals of a difference.

python -m research.simulations.methods

Each scan has a difficulty, uniform from 0 to 1, and a run is right on those below its own true accuracy. Half of the
units are equally difficult for all runs, a fifth for all runs of one method, the rest for one run alone. Within a unit
a scan takes the unit's difficulty with the probability `sharing` and one of its own otherwise, so two scans of a unit
are both right or both wrong more often than by chance by the correlation sharing ** 2.
"""

import json
from pathlib import Path

import numpy as np
from scipy import stats

from research.markdown import percent, table
from research.simulations.coverage import LEVEL, OFFICIAL, sizes_of
from trueslice.evaluate.compare import jackknife_errors, method_error, model_error

RESULTS = Path(__file__).parent / "results/methods.json"
REPEATS = 2000
BLOCK = 50  # repeats at once
RESAMPLES = 2000
ACCURACY = 0.85
SHARES = (0.5, 0.2, 0.3)  # of the units, whose difficulty is one for all runs, for those of a method, for one run
# How many patients have how many slices in figshare article 1512427, from which most Kaggle tumours come.
SLICES = {
    **{1: 7, 2: 10, 3: 11, 4: 12, 5: 8, 6: 10, 7: 5, 8: 4, 9: 6, 10: 11, 11: 5, 12: 13, 13: 9, 14: 6, 15: 16, 16: 7},
    **{17: 10, 18: 10, 19: 7, 20: 4, 21: 4, 22: 3, 23: 2, 24: 4, 25: 2, 26: 2, 27: 1, 31: 1, 32: 1, 34: 1, 36: 2},
    **{37: 1, 38: 2, 40: 3, 41: 1, 43: 1, 47: 1, 51: 1, 70: 1, 88: 1, 97: 1},
}
UNITS = {"copies": (OFFICIAL, 0.9), "patients": (SLICES, 0.8)}  # sizes and `sharing`


def drawn_sizes(counts: dict[int, int], scans: int) -> np.ndarray:
    """Sizes of units, int [G], drawn from `counts` of every size until there are so many scans."""
    sizes = np.random.default_rng(0).choice(sizes_of(counts), scans)
    ends = np.minimum(np.cumsum(sizes), scans)
    return np.diff(np.unique(ends), prepend=0)


def right_in_units(
    random: np.random.Generator, sizes: np.ndarray, sharing: float, accuracies: np.ndarray
) -> np.ndarray:
    """Count the scans of each unit that each run is right on, float64 [R, 2, S, G], for true accuracies [R, 2, S]."""
    repeats, _, seeds = accuracies.shape
    ends = np.rint(np.cumsum(SHARES) * len(sizes)).astype(int)[:-1]
    found = []
    # The same for all runs, for those of a side, for none.
    for part, drawn in zip(np.split(sizes, ends), ((1, 1), (2, 1), (2, seeds)), strict=True):
        of_unit = random.random((repeats, *drawn, len(part)), dtype=np.float32).repeat(part, axis=-1)
        alone, draw = (random.random(of_unit.shape, dtype=np.float32) for _ in range(2))
        right = np.where(draw < sharing, of_unit, alone) < accuracies[..., None].astype(np.float32)
        found.append(np.add.reduceat(right, np.cumsum(part) - part, axis=-1, dtype=np.int32))
    return np.concatenate(found, axis=-1).astype(float)


def jackknifed(right: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies [...] and the errors of `compare.jackknife` [..., G] of runs that are right on so many scans."""
    total = right.sum(axis=-1)
    without = (total[..., None] - right) / (sizes.sum() - sizes)
    return total / sizes.sum(), jackknife_errors(without)


def false_positives(unit: str, scans: int, seeds: int, spread: float, repeats: int = REPEATS) -> dict:
    """Share of draws in which two equal methods are called different at the 5 % level.

    Args:
        unit: a key of `UNITS`.
        seeds: runs per side.
        spread: standard deviation of the true accuracy over the seeds.

    Returns:
        The arguments; the number of units, and (sum of sizes)^2 / sum of sizes^2; shares of the repeats: `two_way`, as
        `compare` does from three seeds on, `welch`, Welch's t on the accuracies of the runs, and `models`, which takes
        the trained models as given.
    """
    counts, sharing = UNITS[unit]
    sizes, random = drawn_sizes(counts, scans), np.random.default_rng(0)
    found = {"two_way": 0, "welch": 0, "models": 0}
    for _ in range(repeats // BLOCK):
        sizes = random.permutation(sizes)
        levels = np.clip(random.normal(ACCURACY, spread, (BLOCK, 2, seeds)), 0, 1)
        values, errors = jackknifed(right_in_units(random, sizes, sharing, levels), sizes)
        a, b = values[:, 0], values[:, 1]
        difference = np.abs(b.mean(axis=1) - a.mean(axis=1))
        of_models = model_error(errors[:, 1].mean(axis=1) - errors[:, 0].mean(axis=1))
        for name, (error, freedom) in {
            "two_way": method_error((a, b), (errors[:, 0], errors[:, 1])),
            "models": of_models,
        }.items():
            found[name] += int((difference > stats.t.ppf(1 - LEVEL / 2, freedom) * error).sum())
        sides = [each for side in (a, b) for each in (side.mean(axis=1), side.std(axis=1, ddof=1), seeds)]
        with np.errstate(invalid="ignore"):
            found["welch"] += int((stats.ttest_ind_from_stats(*sides, equal_var=False).pvalue < LEVEL).sum())
    case = {"unit": unit, "scans": scans, "units": len(sizes), "effective_units": effective(sizes)}
    return case | {"seeds": seeds, "spread": spread} | {name: count / repeats for name, count in found.items()}


def called_better(unit: str, scans: int, seeds: int, gain: float, trained: int, repeats: int = REPEATS) -> dict:
    """Simulate the share of comparisons that call method B better than A at the 5 % level, by the two-way variance.

    Args:
        unit: a key of `UNITS`.
        seeds: runs per side.
        gain: how much higher the true accuracy of B is, on average.
        trained: runs of B of which the best `seeds` are compared.

    Returns:
        The arguments and units as above, and `better`, a share of the repeats.
    """
    counts, sharing = UNITS[unit]
    sizes, random, found = drawn_sizes(counts, scans), np.random.default_rng(0), 0
    for _ in range(repeats // BLOCK):
        sizes = random.permutation(sizes)
        levels = random.normal([[ACCURACY], [ACCURACY + gain]], 0.01, (BLOCK, 2, trained))
        values, errors = jackknifed(right_in_units(random, sizes, sharing, np.clip(levels, 0, 1)), sizes)
        best = np.argsort(-values[:, 1], axis=1)[:, :seeds]
        a, b = values[:, 0, :seeds], np.take_along_axis(values[:, 1], best, axis=1)
        errors_b = np.take_along_axis(errors[:, 1], best[..., None], axis=1)
        error, freedom = method_error((a, b), (errors[:, 0, :seeds], errors_b))
        found += int((b.mean(axis=1) - a.mean(axis=1) > stats.t.ppf(1 - LEVEL / 2, freedom) * error).sum())
    case = {"unit": unit, "scans": scans, "units": len(sizes), "effective_units": effective(sizes)}
    return case | {"seeds": seeds, "gain": gain, "trained": trained, "better": found / repeats}


def coverage(unit: str, scans: int, a: float, b: float, repeats: int = REPEATS) -> dict:
    """Coverage of the 95 % interval of the difference of two trained models, of true accuracy `a` and `b`.

    Returns:
        The arguments and units as above; shares of the repeats: `jackknife`, as `compare` does, and `bootstrap`, the
        percentiles of resampled units; and the mean width of both.
    """
    counts, sharing = UNITS[unit]
    sizes, random = drawn_sizes(counts, scans), np.random.default_rng(0)
    draws = random.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), RESAMPLES).astype(float)
    covered, widths = {"jackknife": 0, "bootstrap": 0}, {"jackknife": 0.0, "bootstrap": 0.0}
    for _ in range(repeats // BLOCK):
        sizes = random.permutation(sizes)
        right = right_in_units(random, sizes, sharing, np.full((BLOCK, 2, 1), [[a], [b]]))[:, :, 0]
        values, errors = jackknifed(right, sizes)
        difference = values[:, 1] - values[:, 0]
        error, freedom = model_error(errors[:, 1] - errors[:, 0])
        half = np.nan_to_num(stats.t.ppf(1 - LEVEL / 2, freedom)) * error
        resampled = (right[:, 1] - right[:, 0]) @ draws.T / (draws @ sizes)
        low_high = np.percentile(resampled, [100 * LEVEL / 2, 100 - 100 * LEVEL / 2], axis=1)
        for name, (low, high) in {"jackknife": (difference - half, difference + half), "bootstrap": low_high}.items():
            covered[name] += int(((low <= b - a) & (b - a <= high)).sum())
            widths[name] += float((high - low).sum())
    case = {"unit": unit, "scans": scans, "units": len(sizes), "effective_units": effective(sizes), "a": a, "b": b}
    shares = {name: count / repeats for name, count in covered.items()}
    return case | shares | {f"{name}_width": width / repeats for name, width in widths.items()}


def effective(sizes: np.ndarray) -> int:
    return round(float(sizes.sum() ** 2 / (sizes**2).sum()))


def tables(results: dict) -> str:
    """Return the tables of README.md: false positives of tests, their power, and coverage of differences."""
    tests = [
        [*_case(row), row["seeds"], f"{100 * row['spread']:.0f}"]
        + [percent(row[name]) for name in ("two_way", "welch", "models")]
        for row in results["methods"]
    ]
    better = [
        [*_case(row), row["seeds"], f"{100 * row['gain']:.0f}", row["trained"], percent(row["better"])]
        for row in results["better"]
    ]
    models = [
        [*_case(row), f"{row['a']:.2f}, {row['b']:.2f}"]
        + [f"{percent(row[name])} ({100 * row[name + '_width']:.1f})" for name in ("jackknife", "bootstrap")]
        for row in results["models"]
    ]
    case = ("unit", "scans", "units (effective)")
    of_tests = table([*case, "seeds per side", "spread", "two-way", "Welch", "models as given"], tests)
    of_power = table([*case, "seeds per side", "true gain", "B trained", "called better"], better)
    return f"{of_tests}\n\n{of_power}\n\n" + table(
        [*case, "true accuracy", "jackknife", "percentile bootstrap"], models
    )


def _case(row: dict) -> list[str]:
    return [row["unit"], f"{row['scans']:,}", f"{row['units']:,} ({row['effective_units']:,})"]


def main() -> None:
    sets = [(unit, scans) for unit in UNITS for scans in (967, 4000)]
    cases = [(*each, seeds, spread) for each in sets for spread in (0.01, 0.03) for seeds in (2, 3, 5)]
    pairs = [(*each, a, b) for each in sets for a, b in ((0.8, 0.8), (0.7, 0.85), (0.9, 0.95), (0.97, 0.98))]
    results = {
        "command": "python -m research.simulations.methods",
        "repeats": REPEATS,
        "methods": [false_positives(*case) for case in cases],
        "better": [
            called_better(*each, seeds, gain, trained)
            for each in sets
            for seeds, gain, trained in ((3, 0.05, 3), (5, 0.05, 5), (3, 0, 3), (3, 0, 5), (3, 0, 8))
        ],
        "models": [coverage(*pair) for pair in pairs],
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(tables(results))


if __name__ == "__main__":
    main()
