"""Which scan trains, which one validates, which one tests; copies never stand on both sides."""

from typing import NamedTuple

import numpy as np

from tumorclip.errors import UserError
from tumorclip.scans import audit


class Split(NamedTuple):
    """Where each scan stands.

    `parts`: str [N], `train`, `val`, `test` or `dropped`.
    `leaked`: bool [N], the test scans that have a copy in the published Training folder, whatever the policy.
    `conflicting`: bool [N], the scans that were dropped because a copy of them stands under another class.
    """

    parts: np.ndarray
    leaked: np.ndarray
    conflicting: np.ndarray


def split(
    official_splits: np.ndarray,
    classes: np.ndarray,
    groups: np.ndarray,
    leaks: str,
    validation_share: float,
    test_share: float,
    seed: int,
) -> Split:
    """Place every scan.

    With a published test set, test is that, and train and val are made from Training; `leaks` says what happens to
    copies between the two: `drop_train` drops the training scans, `drop_test` the test scans, `keep` neither. Without
    one, `test_share` of all scans is held out for test first. Groups never straddle train and val, nor a test set
    made here. Scans whose group spans classes are dropped, except from a published test set.

    Args:
        official_splits: str [N], `train`, `test` or empty.
        classes: str [N].
        groups: int [N], the same number for copies of each other.
        leaks: `drop_train`, `drop_test` or `keep`.
        validation_share: share of each class's training scans that become val.
        test_share: share of each class's scans that become test where none is published.
        seed: decides which groups are held out.

    Raises:
        UserError: a class would be left without scans in train, val or test.
    """
    published = official_splits == "test"
    leaked = audit.leaked(official_splits, groups)
    conflicting = audit.conflicting(classes, groups) & ~published
    parts = np.where(published, "test", "train").astype("<U7")
    parts[conflicting] = "dropped"
    if leaks == "drop_train":
        parts[~published & np.isin(groups, groups[published])] = "dropped"
    elif leaks == "drop_test":
        parts[leaked] = "dropped"
    _require(parts, classes, ["train", *(["test"] if published.any() else [])], leaks)
    if not published.any():
        _hold_out(parts, "test", classes, groups, test_share, "split.test_share", seed)
    _hold_out(parts, "val", classes, groups, validation_share, "split.validation_share", seed)
    return Split(parts, leaked, conflicting)


def count(result: Split, classes: np.ndarray) -> dict:
    """Count what was placed where and what was dropped why, as nested scalars."""
    names = np.unique(classes).tolist()
    dropped = result.parts == "dropped"

    def per_class(chosen: np.ndarray) -> dict[str, int]:
        return {"total": int(chosen.sum()), **{name: int((classes[chosen] == name).sum()) for name in names}}

    return {
        **{part: per_class(result.parts == part) for part in ("train", "val", "test", "dropped")},
        "dropped_as_conflicting": int(result.conflicting.sum()),
        "dropped_as_leaked": int((dropped & ~result.conflicting).sum()),
        "leaked_test_scans": int((result.leaked & (result.parts == "test")).sum()),
    }


def _require(parts: np.ndarray, classes: np.ndarray, wanted: list[str], leaks: str) -> None:
    """Check that dropping leaves every class some scans in each of the `wanted` parts."""
    for name in np.unique(classes):
        for part in wanted:
            if not np.any((classes == name) & (parts == part)):
                raise UserError(
                    f"dropping copies (split.leaks: {leaks}, and copies under several classes) leaves no {part} scan "
                    f"of {name}; choose another split.leaks or bring more scans of {name}"
                )


def _hold_out(
    parts: np.ndarray, into: str, classes: np.ndarray, groups: np.ndarray, share: float, key: str, seed: int
) -> None:
    """Move about `share` of each class's train scans to the part `into`, in whole groups.

    Groups are visited in random order, and one is taken if it still fits; where none does, the smallest is.
    """
    for index, name in enumerate(np.unique(classes)):
        pool = (classes == name) & (parts == "train")
        members, sizes = np.unique(groups[pool], return_counts=True)
        total, target = int(pool.sum()), round(share * int(pool.sum()))
        scans = f"{total} scan{'s' if total > 1 else ''}"
        if len(members) < 2:
            raise UserError(
                f"class {name} has {scans} to divide between train and {into}, and no two that are not copies; "
                "bring at least two different ones"
            )
        if target == 0:
            raise UserError(
                f"{key} {share} leaves no {into} scan of {name}, which has {scans} to divide; "
                f"raise it to {1 / total:.2g} or more"
            )
        # A generator per class and part: more scans of one class change nothing for the others.
        order = np.random.default_rng([seed, index, ("val", "test").index(into)]).permutation(len(members))
        taken, room = [], target
        for place in order:
            if sizes[place] <= room:
                taken.append(place)
                room -= sizes[place]
        taken = taken or [order[np.argmin(sizes[order])]]
        if len(taken) == len(members):
            raise UserError(f"{key} {share} leaves no training scan of {name}, which has {scans} to divide; lower it")
        parts[pool & np.isin(groups, members[taken])] = into
