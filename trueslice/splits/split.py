"""The split into training, validation and test scans; copies are never on both sides.

Scans that are placed as a whole are a unit: a group of copies with all frames of their files, under `blocked` a run of
consecutive file names, and under `patients` all scans of a patient with their copies, or a run where none is known.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trueslice import params as parameters
from trueslice.copies import groups
from trueslice.errors import UserError
from trueslice.reading.names import natural_key
from trueslice.records.split import ClassSplit, ConflictingScan, SplitCounts
from trueslice.tables.scans import Scans
from trueslice.tables.splits import Splits

# A generator for each purpose and class: more scans of one class change nothing for the others.
PURPOSES = ("val", "test", "random", "folds")
# Why a scan is dropped, as splits.csv says it, by what it is called in split.json.
REASONS = {"as_conflicting": "conflicting", "as_leaked": "leaked", "at_random": "at random", "as_repeated": "repeated"}


class Result(NamedTuple):
    """The part that each scan is in."""

    protocol: str  # that was followed; `grouped` where `official` was asked for and no test set is published
    splits: Splits  # one row for each scan; `reason` is a value of REASONS or empty
    conflicting: np.ndarray  # bool [N], the scans with a copy under another class, dropped or not


class _Units(NamedTuple):
    """Scans that are placed as a whole, and their name in messages."""

    of: np.ndarray  # int [N], the unit of every scan
    labels: np.ndarray  # int [N], its class in `class_names`
    class_names: list[str]
    name: str
    remedy: str  # where a class has too few units


def split(scans: Scans, params: parameters.Split, seed: int) -> Result:
    """Place every scan, as docs/parameters.md describes.

    Groups of copies never straddle train and val, nor either of them and test, except those that are published apart
    under `keep` and `drop_random`; under `patients` no patient does either. Class by class, shares and folds are kept
    as well as whole units allow. `params.seed` draws the test set of a new split and folds, `seed` all else.

    Raises:
        UserError: a class has fewer units than folds, or no scans in train, val or test; no patient is known; or folds
            are asked for where validation scans are published.
    """
    published = scans.official_split == "test"
    protocol = params.protocol if params.protocol != "official" or published.any() else "grouped"
    official = protocol == "official"
    conflicting = groups.conflicting(scans)
    reasons = _reasons(scans, params, seed, conflicting, official)
    with_validation = official and bool((scans.official_split == "val").any())
    if with_validation and params.folds is not None:
        advice = "set split.folds to null, or take another split.protocol"
        raise UserError(f"split.folds holds out validation scans, but the folder Validation has them; {advice}")
    parts = scans.official_split.astype("<U7") if official else np.full(len(scans), "train", "<U7")
    parts[reasons != ""] = "dropped"
    blame = f"split.leaks: {params.leaks} and " if official else ""
    blame += f"split.conflicts: {params.conflicts}"
    _require(parts, scans.class_name, ("train", "test") if official else ("train",), blame)

    units = _units(scans, params, protocol)
    if params.folds is not None:
        _hold_out_fold(parts, "val" if official else "test", units, params)
    elif not official:
        _hold_out(parts, "test", units, params, params.seed)
    if not with_validation and (params.folds is None or not official):
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
    """Return the reasons why scans are dropped before any is held out: str [N], empty where they are not."""
    reasons = np.full(len(scans), "", dtype="<U11")
    train = ~((scans.official_split == "test") & official)
    if params.conflicts == "drop":
        reasons[conflicting & train] = "conflicting"
        train &= ~conflicting
    if official:
        # A scan that has copies in several folders stays in the last, or in the first under drop_test.
        rank = np.select([scans.official_split == "test", scans.official_split == "val"], [2, 1])
        first, last = np.full(len(scans), 2), np.zeros(len(scans), int)
        np.minimum.at(first, scans.group, rank)
        np.maximum.at(last, scans.group, rank)
        repeated = train & (rank < last[scans.group])
        if params.leaks == "drop_train":
            reasons[repeated] = "leaked"
        elif params.leaks == "drop_test":
            reasons[rank > first[scans.group]] = "leaked"
        elif params.leaks == "drop_random":
            reasons[_as_many(repeated, train, scans.class_name, seed)] = "at random"
    return reasons


def _units(scans: Scans, params: parameters.Split, protocol: str) -> _Units:
    names, labels = np.unique(scans.class_name, return_inverse=True)
    classes = labels, names.tolist()
    if protocol == "blocked":
        of = name_blocks(scans, params.blocks)
        return _Units(of, *classes, "blocks of file names", "raise split.blocks or bring more scans")
    if protocol == "patients":
        joined = groups.units(scans)
        known = np.isin(joined, joined[scans.patient != ""])
        if not known.any():
            advice = "name a table in verify.patients, or take split.protocol: blocked"
            raise UserError(f"split.protocol is patients, but no scan has a known patient; {advice}")
        # A group of copies is `known` or in one block as a whole, so none is in two units.
        of = np.where(known, joined, len(scans) + name_blocks(scans, params.blocks))
        return _Units(of, *classes, "patients or blocks of file names", "bring scans of more patients")
    return _Units(
        groups.files_and_copies(scans.group, scans.path), *classes, "groups of copies", "bring two different scans"
    )


def count(result: Result) -> SplitCounts:
    """Count what was placed where and what was dropped why, in total and per class; list scans with conflicts.

    `leaked_test_scans` have a copy in the published Training folder, under `official` alone. `leaked_by_patient` have
    none in train or val, but another scan of their patient.
    """
    splits = result.splits
    chosen = {part: splits.split == part for part in ("train", "val", "test", "dropped")}
    chosen |= {f"dropped_{key}": splits.reason == reason for key, reason in REASONS.items()}
    chosen["leaked_test_scans"] = (splits.leaked == "copy") & chosen["test"] & (result.protocol == "official")
    names = np.unique(splits.class_name).tolist()
    chosen["leaked_by_patient"] = np.zeros(len(splits), bool)
    chosen["leaked_by_patient"][chosen["test"]] = splits.columns_of("test", names)["exposure"] == "patient"
    unknown = ~np.isin(splits.unit, splits.unit[splits.patient != ""])
    chosen["placed_by_names"] = unknown & ~chosen["dropped"] & (result.protocol == "patients")
    every = np.ones(len(splits), bool)
    classes = [ClassSplit(class_name=name, **_count(splits, splits.class_name == name, chosen)) for name in names]
    conflicts = splits.take(result.conflicting)
    columns = conflicts.path.tolist(), conflicts.class_name.tolist(), conflicts.group.tolist()
    rows = zip(*columns, strict=True)
    conflicting = [ConflictingScan(path=path, class_name=name, group=group) for path, name, group in rows]
    totals = _count(splits, every, chosen)
    return SplitCounts(protocol=result.protocol, **totals, classes=classes, conflicting=conflicting)


def _count(splits: Splits, rows: np.ndarray, chosen: dict[str, np.ndarray]) -> dict[str, int]:
    """Count scans, patients and units of some rows, bool [N]."""
    patients = {part: set(splits.patient[rows & (splits.split == part)]) - {""} for part in ("train", "val", "test")}
    fitted = set(splits.patient[np.isin(splits.split, ["train", "val"])])
    return {
        **{key: int((rows & flag).sum()) for key, flag in chosen.items()},
        "units": len(np.unique(splits.unit[rows])),
        **{f"patients_{part}": len(found) for part, found in patients.items()},
        "patients_in_train_and_test": len(fitted & patients["test"]),
    }


def name_blocks(scans: Scans, blocks: int) -> np.ndarray:
    """Cut every class into `blocks` runs of consecutive file names, each of about as many scans: int [N].

    Public collections lost their patient identifiers but kept the order of their source, in Training and Testing
    apart. A file's place is its rank among the names of its class and folder, divided by their number, which
    aligns the two folders. A group of copies, of the class of most of them, has the place of the first of its files:
    joining every block that a group touches would join nearly all blocks of a class, since copies were appended far
    behind their originals.
    """
    together = groups.files_and_copies(scans.group, scans.path)
    classes = _majorities(scans.class_name, together)
    places = np.zeros(len(scans))
    sort_keys = [natural_key(path) for path in scans.path.tolist()]
    for folder in np.unique(scans.official_split):
        for name in np.unique(classes):
            members = np.flatnonzero((scans.official_split == folder) & (classes == name))
            ordered = sorted(members, key=sort_keys.__getitem__)
            places[ordered] = np.arange(len(ordered)) / max(len(ordered), 1)
    result = np.zeros(len(scans), dtype=np.int64)
    for index, name in enumerate(np.unique(classes)):
        rows = np.flatnonzero(classes == name)
        _, members, sizes = np.unique(together[rows], return_inverse=True, return_counts=True)
        first = np.full(len(sizes), np.inf)
        np.minimum.at(first, members, places[rows])
        order = np.argsort(first, kind="stable")
        before = np.empty(len(sizes), dtype=np.int64)
        before[order] = np.cumsum(sizes[order]) - sizes[order]
        result[rows] = index * blocks + (before * blocks // len(rows))[members]
    return result


def _majorities(classes: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the class of most scans of each one's group, the first by name where there are several: str [N]."""
    names, labels = np.unique(classes, return_inverse=True)
    _, members = np.unique(group, return_inverse=True)
    votes = np.zeros((members.max() + 1, len(names)), dtype=np.int64)
    np.add.at(votes, (members, labels), 1)
    return names[votes.argmax(axis=1)][members]


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
    """Divide the train scans into folds with about the same share of every class, and move one to the part `into`.

    The largest unit goes first, equal ones in random order, each to the fold that has the smallest shares so far of
    the classes that the unit holds.
    """
    assert params.folds is not None
    members, counts = _to_divide(parts, units, params.seed, "folds")
    for name, number in zip(units.class_names, (counts > 0).sum(axis=0), strict=True):
        if number < params.folds:
            remedy = " or raise split.blocks" if "blocks" in units.name else ""
            problem = f"class {name} has {number} {units.name} to divide, fewer than split.folds: {params.folds}"
            raise UserError(f"{problem}; lower split.folds{remedy}")
    fold_of = np.empty(len(members), dtype=np.int64)
    filled = np.zeros((params.folds, len(units.class_names)), dtype=np.int64)
    for place in np.argsort(-counts.sum(axis=1), kind="stable"):
        fold_of[place] = (filled * counts[place] / counts.sum(axis=0) ** 2).sum(axis=1).argmin()
        filled[fold_of[place]] += counts[place]
    parts[(parts == "train") & np.isin(units.of, members[fold_of == params.fold - 1])] = into


def _hold_out(parts: np.ndarray, into: str, units: _Units, params: parameters.Split, seed: int) -> None:
    """Move about the asked share of each class's train scans to the part `into`, `val` or `test`, in whole units.

    Units are visited in random order, and one is taken if that brings the shares of its classes closer to the one
    asked for, by the sum of squared differences. Of a class of which none is, the smallest unit is taken.
    """
    key = {"val": "validation_share", "test": "test_share"}[into]
    share = getattr(params, key)
    members, counts = _to_divide(parts, units, seed, into)
    totals = counts.sum(axis=0)
    missing = np.array([round(share * total) for total in totals.tolist()])
    holders = [np.flatnonzero(sizes) for sizes in counts.T]
    for name, total, wanted, own in zip(units.class_names, totals, missing, holders, strict=True):
        if len(own) < 2:
            problem = f"class {name} has {_scans(total)} to divide between train and {into}"
            raise UserError(f"{problem}, and not two {units.name} among them; {units.remedy}")
        if wanted == 0:
            problem = f"split.{key} {share} leaves no {into} scan of {name}, which has {_scans(total)} to divide"
            raise UserError(f"{problem}; raise it to {1 / total:.2g} or more")
    taken = np.zeros(len(members), bool)
    for place, unit in enumerate(counts):
        taken[place] = (unit * (unit - 2 * missing) / totals**2).sum() < 0
        missing -= taken[place] * unit
    for own, sizes in zip(holders, counts.T, strict=True):
        if not taken[own].any():
            taken[own[sizes[own].argmin()]] = True
    for name, total, own in zip(units.class_names, totals, holders, strict=True):
        if taken[own].all():
            problem = f"split.{key} {share} leaves no training scan of {name}, which has {_scans(total)} to divide"
            raise UserError(f"{problem}; lower it")
    parts[(parts == "train") & np.isin(units.of, members[taken])] = into


def _scans(number: int) -> str:
    return f"{number} scan{'' if number == 1 else 's'}"


def _to_divide(parts: np.ndarray, units: _Units, seed: int, purpose: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the units of the train scans and the number of their scans of every class: int [M] and [M, K].

    They come in random order, mixed over the classes.
    """
    pool = np.flatnonzero(parts == "train")
    members, rows = np.unique(units.of[pool], return_inverse=True)
    counts = np.zeros((len(members), len(units.class_names)), dtype=np.int64)
    np.add.at(counts, (rows, units.labels[pool]), 1)
    places = np.empty(len(members))
    for index in range(counts.shape[1]):
        own = np.flatnonzero(counts.argmax(axis=1) == index)
        generator = np.random.default_rng([seed, index, PURPOSES.index(purpose)])
        places[generator.permutation(own)] = np.arange(len(own)) / max(len(own), 1)
    order = np.argsort(places, kind="stable")
    return members[order], counts[order]
