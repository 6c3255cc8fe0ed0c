"""Which scans are copies of each other, what that means for the test set, and what else is wrong with the data.

Copies are pairs, which copies.py finds; groups are the connected components of the pairs.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Pair(NamedTuple):
    """Two scans, by row number with a < b, that show the same picture; `correlation` of their pixels is at most 1."""

    a: int
    b: int
    kind: str
    correlation: float


def exact_copies(pixel_hashes: Sequence[str]) -> list[Pair]:
    """Pair every scan with the first one before it that has the same pixels."""
    first: dict[str, int] = {}
    pairs = []
    for row, pixel_hash in enumerate(pixel_hashes):
        if first.setdefault(pixel_hash, row) != row:
            pairs.append(Pair(first[pixel_hash], row, "exact", 1.0))
    return pairs


def group(count: int, pairs: Iterable[Pair]) -> np.ndarray:
    """Join `count` scans into the connected components of `pairs`: int [count], the first row of each one's group."""
    parent = list(range(count))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for pair in pairs:
        low, high = sorted((root(pair.a), root(pair.b)))
        parent[high] = low
    return np.array([root(row) for row in range(count)], dtype=np.int64)


def leaked(official_splits: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Tell which test scans have a copy in the published Training folder: bool [N].

    Args:
        official_splits: str [N], `train`, `test` or empty.
        groups: int [N].
    """
    return (official_splits == "test") & np.isin(groups, groups[official_splits == "train"])


def conflicting(classes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Tell which scans have a copy under another class: bool [N], from classes (any type) and groups, both [N]."""
    _, classes = np.unique(classes, return_inverse=True)
    members = np.unique(np.stack([groups, classes], axis=1), axis=0)[:, 0]
    names, labels = np.unique(members, return_counts=True)
    return np.isin(groups, names[labels > 1])


def examples(
    pairs: Sequence[Pair], official_splits: np.ndarray, classes: np.ndarray, groups: np.ndarray, count: int
) -> list[Pair]:
    """Choose `count` pairs to show: all kinds in turn, classes in turn, one of a group, of middling correlation.

    Where a test set is published, only pairs between it and Training, with the test scan as `a`; an empty list if
    there are none. Equal kinds stand side by side.
    """
    if "test" in official_splits:
        across = [pair for pair in pairs if official_splits[pair.a] != official_splits[pair.b]]
        pairs = [p._replace(a=p.b, b=p.a) if official_splits[p.b] == "test" else p for p in across]
    kinds = Counter(pair.kind for pair in pairs)
    waiting = {kind: [pair for pair in pairs if pair.kind == kind] for kind, _ in kinds.most_common()}
    shown: Counter[str] = Counter()
    chosen: list[Pair] = []
    while len(chosen) < count and any(waiting.values()):
        for kind in waiting:
            if waiting[kind] and len(chosen) < count:
                fewest = min(shown[classes[pair.a]] for pair in waiting[kind])
                fit = [pair for pair in waiting[kind] if shown[classes[pair.a]] == fewest]
                best = sorted(fit, key=lambda pair: pair.correlation)[len(fit) // 2]
                chosen.append(best)
                shown[classes[best.a]] += 1
                for other in waiting:
                    waiting[other] = [pair for pair in waiting[other] if groups[pair.a] != groups[best.a]]
    return sorted(chosen, key=lambda pair: list(waiting).index(pair.kind))


def summarise(official_splits: np.ndarray, classes: np.ndarray, groups: np.ndarray, pairs: Sequence[Pair]) -> dict:
    """Count scans, copies, groups and leaks, as nested scalars."""
    class_names = np.unique(classes).tolist()
    is_leaked = leaked(official_splits, groups)
    names, sizes = np.unique(groups, return_counts=True)
    kinds = [pair.kind for pair in pairs]
    return {
        "scans": {
            split or "all": _per_class(classes[official_splits == split], class_names)
            for split in np.unique(official_splits)[::-1].tolist()
        },
        "distinct_scans": {
            "total": len(names),
            **{name: len(np.unique(groups[classes == name])) for name in class_names},
        },
        "copy_pairs": {"total": len(pairs), **{kind: kinds.count(kind) for kind in sorted({"exact", *kinds})}},
        "copy_groups": int((sizes > 1).sum()),
        "largest_copy_group": int(sizes.max()),
        "label_conflicts": len(np.unique(groups[conflicting(classes, groups)])),
        "leaked_test_scans": _per_class(classes[is_leaked], class_names),
    }


def _per_class(classes: np.ndarray, class_names: list[str]) -> dict[str, int]:
    return {"total": len(classes), **{name: int((classes == name).sum()) for name in class_names}}
