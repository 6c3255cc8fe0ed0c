"""Which scan trains, which one validates, which one tests; copies never stand on both sides.

What is placed as a whole is a unit: a group of copies, or under `blocked` a run of consecutive file names.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tumorclip.data import groups as audit
from tumorclip.errors import UserError

# A generator for each purpose and class: more scans of one class change nothing for the others.
PURPOSES = ("val", "test", "random", "folds")
REASONS = ("conflicting", "leaked", "at random", "repeated")


class Split(NamedTuple):
    """Where each scan stands.

    `protocol`: the one that was followed, `grouped` where `official` was asked for and no test set is published.
    `parts`: str [N], `train`, `val`, `test` or `dropped`.
    `reasons`: str [N], why a dropped scan was dropped, one of `REASONS`; empty for the others.
    `leaked`: bool [N], the published test scans that have a copy in the published Training folder, whatever was asked.
    `conflicting`: bool [N], the scans a copy of which stands under another class, dropped or not.
    """

    protocol: str
    parts: np.ndarray
    reasons: np.ndarray
    leaked: np.ndarray
    conflicting: np.ndarray


def split(
    paths: Sequence[str],
    official_splits: np.ndarray,
    classes: np.ndarray,
    groups: np.ndarray,
    *,
    protocol: str,
    leaks: str,
    conflicts: str,
    copies: str,
    blocks: int,
    folds: int | None,
    fold: int,
    validation_share: float,
    test_share: float,
    seed: int,
) -> Split:
    """Place every scan.

    Groups never straddle train and val, nor either of them and test, except test under `keep` and `drop_random`.
    Class by class, shares and folds are kept as well as whole units allow.

    Args:
        paths: N file paths; only `blocked` reads them, through `name_blocks`.
        official_splits: str [N], `train`, `test` or empty.
        classes: str [N].
        groups: int [N], the same number for copies of each other.
        protocol: `official` takes the published test set and makes val from Training; `grouped` makes test and val
            from all scans in whole groups of copies; `blocked` does so in whole blocks of consecutive file names.
        leaks: what `official` does about copies between the two folders. `drop_train` drops the training scans,
            `drop_test` the test scans, `keep` neither; `drop_random` drops as many training scans of each class as
            `drop_train` would, drawn from all of them.
        conflicts: `drop` leaves out scans whose copies stand under several classes, but for those of a published test
            set; `keep` takes them as they are.
        copies: `one` leaves the first scan of every group in train; `all` leaves them all. Val and test stay whole.
        blocks: how many blocks each class has under `blocked`.
        folds: into how many folds the scans are divided, and which `fold` of them, from 1 on, is held out: as val
            under `official`, as test otherwise. None holds out the shares below instead.
        validation_share: share of each class's training scans that become val.
        test_share: share of each class's scans that become test where the published test set is not taken.
        seed: decides which units are held out, and what `drop_random` drops.

    Raises:
        UserError: a class has fewer units than there are folds, or is left without scans in train, val or test.
    """
    published = official_splits == "test"
    if protocol == "official" and not published.any():
        protocol = "grouped"
    official = protocol == "official"
    leaked, conflicting = audit.leaked(official_splits, groups), audit.conflicting(classes, groups)
    parts = np.where(published & official, "test", "train").astype("<U7")
    reasons = np.full(len(parts), "", dtype="<U11")

    def drop(chosen: np.ndarray, reason: str) -> None:
        parts[chosen], reasons[chosen] = "dropped", reason

    if conflicts == "drop":
        drop(conflicting & (parts == "train"), "conflicting")
    if official:
        copies_of_test = (parts == "train") & np.isin(groups, groups[published])
        if leaks == "drop_train":
            drop(copies_of_test, "leaked")
        elif leaks == "drop_test":
            drop(leaked, "leaked")
        elif leaks == "drop_random":
            drop(_as_many(copies_of_test, parts == "train", classes, seed), "at random")
    blame = f"split.leaks: {leaks} and split.conflicts: {conflicts}" if official else f"split.conflicts: {conflicts}"
    _require(parts, classes, ("train", "test") if official else ("train",), blame)

    homes = _home_classes(classes, groups)
    units = groups if protocol != "blocked" else name_blocks(paths, official_splits, homes, groups, blocks)
    unit = "groups of copies" if protocol != "blocked" else "blocks of file names"
    first = "val" if official else "test"
    if folds is not None:
        _hold_out_fold(parts, first, homes, units, unit, folds, fold, seed)
    elif not official:
        _hold_out(parts, "test", homes, units, unit, test_share, "split.test_share", seed)
    if folds is None or not official:
        _hold_out(parts, "val", homes, units, unit, validation_share, "split.validation_share", seed)
    if copies == "one":
        drop((parts == "train") & ~_first_of_each(groups, parts == "train"), "repeated")
    _require(parts, classes, ("train", "val", "test"), f"split.conflicts: {conflicts} and split.copies: {copies}")
    return Split(protocol, parts, reasons, leaked, conflicting)


def count(result: Split, classes: np.ndarray) -> dict:
    """Count what was placed where and what was dropped why, in total and per class, as nested scalars.

    `leaked_test_scans` are the test scans with a copy in the published Training folder; only `official` has any.
    """
    names = np.unique(classes).tolist()

    def per_class(chosen: np.ndarray) -> dict[str, int]:
        return {"total": int(chosen.sum()), **{name: int((classes[chosen] == name).sum()) for name in names}}

    return {
        "protocol": result.protocol,
        **{part: per_class(result.parts == part) for part in ("train", "val", "test", "dropped")},
        "dropped_as_conflicting": per_class(result.reasons == "conflicting"),
        "dropped_as_leaked": per_class(result.reasons == "leaked"),
        "dropped_at_random": per_class(result.reasons == "at random"),
        "dropped_as_repeated": per_class(result.reasons == "repeated"),
        "leaked_test_scans": per_class(result.leaked & (result.parts == "test") & (result.protocol == "official")),
    }


def name_blocks(
    paths: Sequence[str], official_splits: np.ndarray, classes: np.ndarray, groups: np.ndarray, blocks: int
) -> np.ndarray:
    """Cut every class into `blocks` runs of consecutive file names, each of about as many scans: int [N].

    Public collections lost their patient identifiers but kept the order of their source, in Training and Testing
    apart, so a run of names approximates some patients; it is no proof that two runs share none. A file's place is
    its rank among the names of its class and folder, divided by their number, which lays the two folders side by
    side. A group of copies stands as a whole where the first of its files does: joining every block that a group
    touches would join nearly all blocks of a class, since copies were appended far behind their originals.

    Args:
        paths: N file paths.
        official_splits: str [N].
        classes: str [N], the same within a group.
        groups: int [N].
        blocks: how many, at least 2.
    """
    places, natural = np.zeros(len(groups)), [_natural(path) for path in paths]
    for folder in np.unique(official_splits):
        for name in np.unique(classes):
            rows = sorted(np.flatnonzero((official_splits == folder) & (classes == name)), key=natural.__getitem__)
            places[rows] = np.arange(len(rows)) / max(len(rows), 1)
    result = np.zeros(len(groups), dtype=np.int64)
    for index, name in enumerate(np.unique(classes)):
        rows = np.flatnonzero(classes == name)
        _, members, sizes = np.unique(groups[rows], return_inverse=True, return_counts=True)
        first = np.full(len(sizes), np.inf)
        np.minimum.at(first, members, places[rows])
        order = np.argsort(first, kind="stable")
        before = np.empty(len(sizes), dtype=np.int64)
        before[order] = np.cumsum(sizes[order]) - sizes[order]
        result[rows] = index * blocks + (before * blocks // len(rows))[members]
    return result


def _natural(path: str) -> list[tuple[bool, int, str]]:
    # Numbers by value, so that 2 stands before 10; a number stands before text.
    pieces = re.split(r"([0-9]+)", path.rsplit("/", 1)[-1])
    return [(False, int(piece), piece) if piece.isdigit() else (True, 0, piece) for piece in pieces if piece]


def _home_classes(classes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The class under which most scans of each scan's group stand, the first by name where there are several."""
    names, labels = np.unique(classes, return_inverse=True)
    _, members = np.unique(groups, return_inverse=True)
    votes = np.zeros((members.max() + 1, len(names)), dtype=np.int64)
    np.add.at(votes, (members, labels), 1)
    return names[votes.argmax(axis=1)][members]


def _first_of_each(groups: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The first scan of every group `among` those chosen: bool [N]."""
    rows = np.flatnonzero(among)
    result = np.zeros(len(groups), dtype=bool)
    result[rows[np.unique(groups[rows], return_index=True)[1]]] = True
    return result


def _as_many(wanted: np.ndarray, pool: np.ndarray, classes: np.ndarray, seed: int) -> np.ndarray:
    """Draw as many scans of each class from `pool` as are `wanted`: bool [N]."""
    result = np.zeros(len(classes), dtype=bool)
    for index, name in enumerate(np.unique(classes)):
        rows = np.flatnonzero(pool & (classes == name))
        number = int((wanted & (classes == name)).sum())
        result[_generator(seed, index, "random").choice(rows, number, replace=False)] = True
    return result


def _generator(seed: int, index: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, index, PURPOSES.index(purpose)])


def _require(parts: np.ndarray, classes: np.ndarray, wanted: Sequence[str], blame: str) -> None:
    """Check that every class has scans in each of the `wanted` parts."""
    for name in np.unique(classes):
        for part in wanted:
            if not np.any((classes == name) & (parts == part)):
                raise UserError(
                    f"dropping copies ({blame}) leaves no {part} scan of {name}; "
                    f"choose another policy or bring more scans of {name}"
                )


def _hold_out_fold(
    parts: np.ndarray, into: str, classes: np.ndarray, units: np.ndarray, unit: str, folds: int, fold: int, seed: int
) -> None:
    """Divide each class's train scans into folds of about equal size, and move one fold to the part `into`.

    The largest unit goes first, equal ones in random order, each to the fold with the fewest scans so far.
    """
    for index, name in enumerate(np.unique(classes)):
        pool = (classes == name) & (parts == "train")
        members, sizes = np.unique(units[pool], return_counts=True)
        if len(members) < folds:
            raise UserError(
                f"class {name} has {len(members)} {unit} to divide, fewer than split.folds: {folds}; "
                f"lower split.folds{' or raise split.blocks' if 'blocks' in unit else ''}"
            )
        order = _generator(seed, index, "folds").permutation(len(members))
        fold_of, filled = np.empty(len(members), dtype=np.int64), np.zeros(folds, dtype=np.int64)
        for place in order[np.argsort(-sizes[order], kind="stable")]:
            fold_of[place] = filled.argmin()
            filled[fold_of[place]] += sizes[place]
        parts[pool & np.isin(units, members[fold_of == fold - 1])] = into


def _hold_out(
    parts: np.ndarray,
    into: str,
    classes: np.ndarray,
    units: np.ndarray,
    unit: str,
    share: float,
    key: str,
    seed: int,
) -> None:
    """Move about `share` of each class's train scans to the part `into`, in whole units.

    Units are visited in random order, and one is taken if that comes closer to the share; where none does, the
    smallest is.
    """
    for index, name in enumerate(np.unique(classes)):
        pool = (classes == name) & (parts == "train")
        members, sizes = np.unique(units[pool], return_counts=True)
        total, target = int(pool.sum()), round(share * int(pool.sum()))
        scans = f"{total} scan{'' if total == 1 else 's'}"
        if len(members) < 2:
            raise UserError(
                f"class {name} has {scans} to divide between train and {into}, and not two {unit} among them; "
                f"{'raise split.blocks or bring more scans' if 'blocks' in unit else 'bring two different scans'}"
            )
        if target == 0:
            raise UserError(
                f"{key} {share} leaves no {into} scan of {name}, which has {scans} to divide; "
                f"raise it to {1 / total:.2g} or more"
            )
        order = _generator(seed, index, into).permutation(len(members))
        taken, room = [], target
        for place in order:
            if sizes[place] < 2 * room:
                taken.append(place)
                room -= sizes[place]
        taken = taken or [order[np.argmin(sizes[order])]]
        if len(taken) == len(members):
            raise UserError(f"{key} {share} leaves no training scan of {name}, which has {scans} to divide; lower it")
        parts[pool & np.isin(units, members[taken])] = into
