"""Which scan trains, which one validates, which one tests; copies never stand on both sides.

What is placed as a whole is a unit: a group of copies, or under `blocked` a run of consecutive file names.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tumorclip import params as parameters
from tumorclip.data import groups
from tumorclip.errors import UserError
from tumorclip.tables import Scans, Splits

# A generator for each purpose and class: more scans of one class change nothing for the others.
PURPOSES = ("val", "test", "random", "folds")
# Why a scan is dropped, as splits.csv says it, by what it is called in split.json.
REASONS = {"as_conflicting": "conflicting", "as_leaked": "leaked", "at_random": "at random", "as_repeated": "repeated"}


class Result(NamedTuple):
    """Where each scan stands."""

    protocol: str  # that was followed; `grouped` where `official` was asked for and no test set is published
    splits: Splits  # one row for each scan; `reason` is a value of REASONS or empty
    conflicting: np.ndarray  # bool [N], the scans with a copy under another class, dropped or not


class _Units(NamedTuple):
    """What is placed as a whole: the unit and the class of every scan, arrays [N], and what a unit is called."""

    of: np.ndarray
    classes: np.ndarray
    name: str


def split(scans: Scans, params: parameters.Split, seed: int) -> Result:
    """Place every scan.

    Groups of copies never straddle train and val, nor either of them and test, except test under `keep` and
    `drop_random`. Class by class, shares and folds are kept as well as whole units allow.

    docs/parameters.md says what the parameters mean. `conflicts: drop` spares a published test set; `copies: one`
    leaves val and test whole.

    Raises:
        UserError: a class has fewer units than there are folds, or is left without scans in train, val or test.
    """
    published = scans.official_split == "test"
    protocol = params.protocol if params.protocol != "official" or published.any() else "grouped"
    official = protocol == "official"
    conflicting = groups.conflicting(scans)
    reasons = _reasons(scans, params, seed, conflicting, official)
    parts = np.where(published & official, "test", "train").astype("<U7")
    parts[reasons != ""] = "dropped"
    blame = f"split.leaks: {params.leaks} and " if official else ""
    blame += f"split.conflicts: {params.conflicts}"
    _require(parts, scans.class_name, ("train", "test") if official else ("train",), blame)

    units = _units(scans, params, protocol)
    if params.folds is not None:
        _hold_out_fold(parts, "val" if official else "test", units, params)
    elif not official:
        _hold_out(parts, "test", units, params, params.seed)
    if params.folds is None or not official:
        _hold_out(parts, "val", units, params, seed)
    if params.copies == "one":
        train = np.flatnonzero(parts == "train")
        _, first = np.unique(scans.group[train], return_index=True)
        repeated = np.delete(train, first)
        parts[repeated] = "dropped"
        reasons[repeated] = "repeated"
    blame = f"split.conflicts: {params.conflicts} and split.copies: {params.copies}"
    _require(parts, scans.class_name, ("train", "val", "test"), blame)
    columns = {name: getattr(scans, name) for name in ("path", "class_name", "pixel_hash", "group", "patient")}
    splits = Splits(**columns, unit=groups.units(scans), split=parts, reason=reasons, leaked=groups.leaked(scans))
    return Result(protocol, splits, conflicting)


def _reasons(scans: Scans, params: parameters.Split, seed: int, conflicting: np.ndarray, official: bool) -> np.ndarray:
    """Why scans are dropped before anything is held out: str [N], empty where they are not."""
    reasons = np.full(len(scans), "", dtype="<U11")
    published = scans.official_split == "test"
    train = ~(published & official)
    if params.conflicts == "drop":
        reasons[conflicting & train] = "conflicting"
        train &= ~conflicting
    if official:
        copies_of_test = train & np.isin(scans.group, scans.group[published])
        if params.leaks == "drop_train":
            reasons[copies_of_test] = "leaked"
        elif params.leaks == "drop_test":
            reasons[groups.leaked(scans) == "copy"] = "leaked"
        elif params.leaks == "drop_random":
            reasons[_as_many(copies_of_test, train, scans.class_name, seed)] = "at random"
    return reasons


def _units(scans: Scans, params: parameters.Split, protocol: str) -> _Units:
    names, labels = np.unique(scans.class_name, return_inverse=True)
    _, members = np.unique(scans.group, return_inverse=True)
    votes = np.zeros((members.max() + 1, len(names)), dtype=np.int64)
    np.add.at(votes, (members, labels), 1)
    # A group is of the class of most of its scans, the first by name where there are several.
    classes = names[votes.argmax(axis=1)][members]
    if protocol == "blocked":
        return _Units(name_blocks(scans, classes, params.blocks), classes, "blocks of file names")
    return _Units(scans.group, classes, "groups of copies")


def count(result: Result) -> dict:
    """Count what was placed where and what was dropped why, in total and per class; list scans with conflicts.

    `leaked_test_scans` are the test scans with a copy in the published Training folder; only `official` has any.
    """
    splits = result.splits
    chosen = {part: splits.split == part for part in ("train", "val", "test", "dropped")}
    chosen |= {f"dropped_{key}": splits.reason == reason for key, reason in REASONS.items()}
    chosen["leaked_test_scans"] = (splits.leaked == "copy") & chosen["test"] & (result.protocol == "official")
    classes = [
        {"class": name} | {key: int((rows & (splits.class_name == name)).sum()) for key, rows in chosen.items()}
        for name in np.unique(splits.class_name).tolist()
    ]
    conflicts = splits.take(result.conflicting)
    columns = conflicts.path.tolist(), conflicts.class_name.tolist(), conflicts.group.tolist()
    conflicting = [{"path": path, "class": name, "group": group} for path, name, group in zip(*columns, strict=True)]
    totals = {key: int(rows.sum()) for key, rows in chosen.items()}
    return {"protocol": result.protocol, **totals, "classes": classes, "conflicting": conflicting}


def name_blocks(scans: Scans, classes: np.ndarray, blocks: int) -> np.ndarray:
    """Cut every class into `blocks` runs of consecutive file names, each of about as many scans: int [N].

    Public collections lost their patient identifiers but kept the order of their source, in Training and Testing
    apart. A file's place is its rank among the names of its class and folder, divided by their number, which lays the
    two folders side by side. A group of copies, all of one of `classes`, str [N], stands where the first of its files
    does: joining every block that a group touches would join nearly all blocks of a class, since copies were appended
    far behind their originals.
    """
    places = np.zeros(len(scans))
    natural = [_natural(path) for path in scans.path.tolist()]
    for folder in np.unique(scans.official_split):
        for name in np.unique(classes):
            members = np.flatnonzero((scans.official_split == folder) & (classes == name))
            rows = sorted(members, key=natural.__getitem__)
            places[rows] = np.arange(len(rows)) / max(len(rows), 1)
    result = np.zeros(len(scans), dtype=np.int64)
    for index, name in enumerate(np.unique(classes)):
        rows = np.flatnonzero(classes == name)
        _, members, sizes = np.unique(scans.group[rows], return_inverse=True, return_counts=True)
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


def _as_many(wanted: np.ndarray, pool: np.ndarray, classes: np.ndarray, seed: int) -> np.ndarray:
    """Draw as many scans of each class from `pool` as are `wanted`: bool [N]."""
    result = np.zeros(len(classes), dtype=bool)
    for index, name in enumerate(np.unique(classes)):
        rows = np.flatnonzero(pool & (classes == name))
        number = int((wanted & (classes == name)).sum())
        generator = np.random.default_rng([seed, index, PURPOSES.index("random")])
        result[generator.choice(rows, number, replace=False)] = True
    return result


def _require(parts: np.ndarray, classes: np.ndarray, wanted: Sequence[str], blame: str) -> None:
    """Check that every class has scans in each of the `wanted` parts."""
    for name in np.unique(classes):
        for part in wanted:
            if not np.any((classes == name) & (parts == part)):
                problem = f"dropping copies ({blame}) leaves no {part} scan of {name}"
                raise UserError(f"{problem}; choose another policy or bring more scans of {name}")


def _hold_out_fold(parts: np.ndarray, into: str, units: _Units, params: parameters.Split) -> None:
    """Divide each class's train scans into folds of about equal size, and move one fold to the part `into`.

    The largest unit goes first, equal ones in random order, each to the fold with the fewest scans so far.
    """
    for name, members, sizes in _to_divide(parts, units, params.seed, "folds"):
        if len(members) < params.folds:
            remedy = " or raise split.blocks" if "blocks" in units.name else ""
            problem = f"class {name} has {len(members)} {units.name} to divide, fewer than split.folds: {params.folds}"
            raise UserError(f"{problem}; lower split.folds{remedy}")
        fold_of = np.empty(len(members), dtype=np.int64)
        filled = np.zeros(params.folds, dtype=np.int64)
        for place in np.argsort(-sizes, kind="stable"):
            fold_of[place] = filled.argmin()
            filled[fold_of[place]] += sizes[place]
        parts[(parts == "train") & np.isin(units.of, members[fold_of == params.fold - 1])] = into


def _hold_out(parts: np.ndarray, into: str, units: _Units, params: parameters.Split, seed: int) -> None:
    """Move about the asked share of each class's train scans to the part `into`, `val` or `test`, in whole units.

    Units are visited in random order, and one is taken if that comes closer to the share; where none does, the
    smallest is.
    """
    key = {"val": "validation_share", "test": "test_share"}[into]
    share = getattr(params, key)
    for name, members, sizes in _to_divide(parts, units, seed, into):
        total = int(sizes.sum())
        scans = f"{total} scan{'' if total == 1 else 's'}"
        case = f"{name}, which has {scans} to divide"
        if len(members) < 2:
            remedy = "raise split.blocks or bring more scans" if "blocks" in units.name else "bring two different scans"
            problem = f"class {name} has {scans} to divide between train and {into}"
            raise UserError(f"{problem}, and not two {units.name} among them; {remedy}")
        room = round(share * total)
        if room == 0:
            raise UserError(f"split.{key} {share} leaves no {into} scan of {case}; raise it to {1 / total:.2g} or more")
        taken = []
        for place, size in enumerate(sizes):
            if size < 2 * room:
                taken.append(place)
                room -= size
        taken = taken or [sizes.argmin()]
        if len(taken) == len(members):
            raise UserError(f"split.{key} {share} leaves no training scan of {case}; lower it")
        parts[(parts == "train") & np.isin(units.of, members[taken])] = into


def _to_divide(parts: np.ndarray, units: _Units, seed: int, purpose: str) -> Iterator[tuple]:
    """Each class, the units of its train scans in random order, and how many of these scans each unit has."""
    for index, name in enumerate(np.unique(units.classes)):
        pool = (units.classes == name) & (parts == "train")
        members, sizes = np.unique(units.of[pool], return_counts=True)
        order = np.random.default_rng([seed, index, PURPOSES.index(purpose)]).permutation(len(members))
        yield name, members[order], sizes[order]
