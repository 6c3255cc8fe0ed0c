"""How often the 95 % intervals cover the true value, and how often tests of equal models call them different.

python -m benchmarks.coverage

Group sizes are those of the official test set of brain-tumor-mri-dataset, version 1. Within a group, every scan takes
the group's outcome with the probability `sharing` and one of its own otherwise, so that two copies are both right or
both wrong more often than by chance by the correlation sharing ** 2.
"""

from collections import Counter

import numpy as np

from tumorclip.evaluate.compare import mcnemar_test, one_per_unit, sign_flip_test
from tumorclip.evaluate.intervals import percentile_interval, resample_counts, share_interval

REPEATS = 2000
RESAMPLES = 2000
LEVEL = 0.05
# How many groups have how many of the 1,311 test files: copies correlate over 0.98, also mirrored or turned.
OFFICIAL = {1: 854, 2: 76, 3: 16, 4: 17, 5: 7, 6: 4, 7: 4, 8: 1, 9: 3, 13: 1, 14: 2, 26: 1}
HEALTHY = {1: 65, 2: 22, 3: 13, 4: 17, 5: 7, 6: 4, 7: 4, 8: 1, 9: 3, 13: 1, 14: 2, 26: 1}  # its class notumor alone
HEAVY = {size: 1 for size in range(1, 51)}  # 50 groups of 1 to 50 files


def sizes_of(counts: dict[int, int]) -> np.ndarray:
    """Files of every group, int [G], from the number of groups of every size."""
    return np.repeat(list(counts), list(counts.values()))


def outcomes(random: np.random.Generator, sizes: np.ndarray, level: float, sharing: float, repeats: int) -> np.ndarray:
    """Whether each file is classified rightly, bool [repeats, N], with the files of a group side by side."""
    of_group = np.repeat(random.random((repeats, len(sizes))) < level, sizes, axis=1)
    shared = random.random(of_group.shape) < sharing
    return np.where(shared, of_group, random.random(of_group.shape) < level)


def per_group(files: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Sums over the files of every group, [repeats, G], from [repeats, N]."""
    return np.add.reduceat(files, np.r_[0, np.cumsum(sizes)[:-1]], axis=1, dtype=float)


def interval_coverage(sizes: np.ndarray, level: float, sharing: float, seed: int = 0, repeats: int = REPEATS) -> dict:
    """Coverage of three nominal 95 % intervals of an accuracy whose true value is `level`.

    Returns:
        Shares of the repeats: `ours` (what metrics/intervals.json holds), `groups` (percentile bootstrap over groups),
        `files` (percentile bootstrap over single files); `methods`, how often ours was which.
    """
    random = np.random.default_rng(seed)
    right = per_group(outcomes(random, sizes, level, sharing, repeats), sizes)
    covered = {"ours": 0, "groups": 0, "files": 0}
    methods = Counter()
    total = sizes.sum()
    for block, rows in enumerate(np.array_split(right, 20)):
        # One set of draws serves a block of repeats: they are the slow part.
        counts = resample_counts(len(sizes), RESAMPLES, seed + block)
        resampled = rows @ counts.T / (counts @ sizes)
        of_files = random.binomial(total, rows.sum(axis=1, keepdims=True) / total, (len(rows), RESAMPLES)) / total
        for successes, over_groups, over_files in zip(rows, resampled, of_files, strict=True):
            intervals = {
                "ours": share_interval(successes, sizes, over_groups),
                "groups": percentile_interval(over_groups),
                "files": percentile_interval(over_files),
            }
            methods[intervals["ours"].method] += 1
            for name, interval in intervals.items():
                covered[name] += interval.low <= level <= interval.high
    return {name: count / repeats for name, count in covered.items()} | {"methods": methods}


def false_positives(sizes: np.ndarray, level: float, sharing: float, seed: int = 0, repeats: int = REPEATS) -> dict:
    """How often two models with the same true accuracy are called different at the 5 % level, by each test.

    Returns:
        Shares of the repeats: `sign_flip`, `mcnemar` (on one file per group), `mcnemar_files` (on all files).
    """
    random = np.random.default_rng(seed)
    a, b = (outcomes(random, sizes, level, sharing, repeats) for _ in range(2))
    differences = per_group(b, sizes) - per_group(a, sizes)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    rejected = {"sign_flip": 0, "mcnemar": 0, "mcnemar_files": 0}
    for repeat in range(repeats):
        one = one_per_unit(groups, seed=repeat)
        rejected["sign_flip"] += sign_flip_test(differences[repeat]) < LEVEL
        rejected["mcnemar"] += mcnemar_test(a[repeat][one], b[repeat][one])[0] < LEVEL
        rejected["mcnemar_files"] += mcnemar_test(a[repeat], b[repeat])[0] < LEVEL
    return {name: count / repeats for name, count in rejected.items()}


def main() -> None:
    official, healthy, heavy = map(sizes_of, (OFFICIAL, HEALTHY, HEAVY))
    single = {count: sizes_of({1: count}) for count in (17, 290)}
    print("| groups | files | true accuracy | sharing | ours | method | bootstrap of groups | of files |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for sizes, level, sharing in (
        *((official, level, sharing) for level in (0.80, 0.85, 0.90, 0.95) for sharing in (0.8, 1.0)),
        *((sizes, level, 0.9) for sizes in (healthy, heavy) for level in (0.80, 0.90, 0.98)),
        *((sizes, level, 1.0) for sizes in single.values() for level in (0.90, 0.95, 0.98)),
    ):
        found = interval_coverage(sizes, level, sharing)
        methods = ", ".join(f"{name} {100 * count / REPEATS:.0f} %" for name, count in found["methods"].items())
        shares = " | ".join(f"{100 * found[name]:.1f} %" for name in ("groups", "files"))
        print(
            f"| {len(sizes)} | {sizes.sum():,} | {level:.2f} | {sharing:.1f} "
            f"| {100 * found['ours']:.1f} % | {methods} | {shares} |"
        )
    print("\n| groups | files | true accuracy | sharing | sign flips | McNemar, one per group | McNemar, all files |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for sizes in (official, heavy):
        for sharing in (0.8, 1.0):
            found = false_positives(sizes, 0.90, sharing)
            shares = " | ".join(f"{100 * share:.1f} %" for share in found.values())
            print(f"| {len(sizes)} | {sizes.sum():,} | 0.90 | {sharing:.1f} | {shares} |")


if __name__ == "__main__":
    main()
