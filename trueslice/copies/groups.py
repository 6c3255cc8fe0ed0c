"""Groups of copies, the connected components of pairs, and their effect on the published test set and the labels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np

from trueslice.reading.names import file_of
from trueslice.records.data import ClassCounts, CopyExample, CopyKind, DataCounts, MatchBin
from trueslice.tables.scans import Conflicts, Pairs, Scans

SHOWN_PAIRS = 8
# The correlation with the scan most like it, in steps from where it begins to say something.
BEST_MATCH_EDGES = [-1.0, *(step / 200 for step in range(160, 201))]


def exact_copies(pixel_hashes: Sequence[str]) -> Pairs:
    """Pair every scan with the first one before it that has the same pixels."""
    first: dict[str, int] = {}
    earliest = np.array([first.setdefault(pixel_hash, row) for row, pixel_hash in enumerate(pixel_hashes)], np.int64)
    rows = np.flatnonzero(earliest != np.arange(len(earliest)))
    return Pairs(earliest[rows], rows, np.full(len(rows), "exact"), np.ones(len(rows)))


def group(count: int, pairs: Pairs) -> np.ndarray:
    """Join `count` scans into the connected components of `pairs`: int64 [count], the first row of each one's group."""
    _, first, members = np.unique(_components(count, pairs.a, pairs.b), return_index=True, return_inverse=True)
    return first[members]


def _components(count: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Label the connected components of `count` nodes with edges from `a` to `b`: int32 [count]."""
    from scipy.sparse import coo_array  # takes a quarter of a second, which most of those who import this do not need
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def units(scans: Scans) -> np.ndarray:
    """Join copies, scans of one patient and frames of one file: int64 [N], the first row of each unit."""
    return _joined(scans.group, scans.patient, _files(scans.path))


def files_and_copies(group: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Join groups of copies, int [N], that hold frames of one file: int64 [N], the first row of each."""
    return _joined(group, _files(path))


def _files(path: np.ndarray) -> np.ndarray:
    """Return the file of each frame: str [N], empty for a scan that is a file of its own."""
    files = np.array([file_of(each) for each in path.tolist()], dtype=str)
    return np.where(files == path, "", files)


def _joined(group: np.ndarray, *labels: np.ndarray) -> np.ndarray:
    """Join groups, int [N], whose scans share a label, str [N], other than the empty one: int64 [N], first rows."""
    # Nodes are the groups, numbered by row, and after them the labels, numbered over all kinds.
    total, ends = len(group), []
    for label in labels:
        rows = np.flatnonzero(label != "")
        names, numbers = np.unique(label[rows], return_inverse=True)
        ends.append((group[rows], total + numbers))
        total += len(names)
    a, b = (np.concatenate(each) for each in zip(*ends, strict=True))
    joined = _components(total, a, b)
    _, first, members = np.unique(joined[group], return_index=True, return_inverse=True)
    return first[members]


def leaked(scans: Scans) -> np.ndarray:
    """Tell which published test scans are also in the published Training or Validation folder: str [N].

    `copy` where a copy is, `patient` where only another scan of the patient or of a copy's patient is, else empty.
    """
    joined, train = units(scans), _not_for_test(scans)
    cases = [np.isin(scans.group, scans.group[train]), np.isin(joined, joined[train])]
    return np.where(scans.official_split == "test", np.select(cases, ["copy", "patient"], ""), "")


def _not_for_test(scans: Scans) -> np.ndarray:
    """Mark the scans of Training, and of Validation, which chooses the epoch: bool [N]."""
    return np.isin(scans.official_split, ["train", "val"])


def conflicting(scans: Scans) -> np.ndarray:
    """Tell which scans have a copy under another class, or are of another class in their source: bool [N]."""
    return of_two_classes(scans) | _contradicted(scans)


def of_two_classes(scans: Scans) -> np.ndarray:
    """Tell which scans have a copy under another class: bool [N]."""
    _, classes = np.unique(scans.class_name, return_inverse=True)
    members = np.unique(np.stack([scans.group, classes], axis=1), axis=0)[:, 0]
    groups, labels = np.unique(members, return_counts=True)
    return np.isin(scans.group, groups[labels > 1])


def _contradicted(scans: Scans) -> np.ndarray:
    return (scans.source_class != "") & (scans.source_class != scans.class_name)


def conflicts(scans: Scans) -> Conflicts:
    """List the scans that `conflicting` tells, group by group."""
    rows = np.flatnonzero(conflicting(scans))
    found = scans.take(rows[np.argsort(scans.group[rows], kind="stable")])
    return Conflicts(found.group, found.path, found.class_name, found.source_class, found.official_split)


def examples(pairs: Pairs, scans: Scans, count: int = SHOWN_PAIRS) -> Pairs:
    """Choose at most `count` pairs to show: all kinds in turn, all classes in turn, one pair of a group.

    Of the pairs that fit, the one with the median correlation is taken. Where a test set is published, only pairs
    between it and Training count, with the test scan as `a`. Pairs are sorted by kind, the most frequent first.
    """
    is_test = scans.official_split == "test"
    if is_test.any():
        pairs = pairs.take(is_test[pairs.a] != is_test[pairs.b])
        a, b, is_turned = pairs.a, pairs.b, is_test[pairs.b]
        pairs = replace(pairs, a=np.where(is_turned, b, a), b=np.where(is_turned, a, b))
    kinds = [kind for kind, _ in Counter(pairs.kind.tolist()).most_common()]
    classes, groups = scans.class_name[pairs.a], scans.group[pairs.a]
    waiting = np.ones(len(pairs), bool)
    shown: Counter[str] = Counter()
    chosen: list[int] = []
    while len(chosen) < count and waiting.any():
        for kind in kinds:
            rows = np.flatnonzero(waiting & (pairs.kind == kind))
            if len(rows) and len(chosen) < count:
                times = np.array([shown[name] for name in classes[rows]])
                fit = rows[times == times.min()]
                best = fit[np.argsort(pairs.correlation[fit], kind="stable")[len(fit) // 2]]
                chosen.append(int(best))
                shown[classes[best]] += 1
                waiting &= groups != groups[best]
    return pairs.take(np.array(sorted(chosen, key=lambda row: kinds.index(pairs.kind[row])), np.int64))


def summarise(scans: Scans, pairs: Pairs, **files: Any) -> DataCounts:
    """Count scans, copies and leaks, in total, per class and per kind; `files` are the fields that count files."""
    sizes = np.bincount(scans.group)
    kinds = ["exact", *np.unique(pairs.kind[pairs.kind != "exact"]).tolist()]
    flags = _flags(scans)
    names = np.unique(scans.class_name).tolist()
    return DataCounts(
        **files,
        distinct_scans=len(np.unique(scans.group)),
        copy_pairs=len(pairs),
        copy_groups=int((sizes > 1).sum()),
        largest_copy_group=int(sizes.max()),
        label_conflicts=len(np.unique(scans.group[of_two_classes(scans)])),
        source_conflicts=int(flags["source_conflicts"].sum()),
        test_scans=int((scans.official_split == "test").sum()),
        leaked_test_scans=int(flags["leaked"].sum()),
        patient_leaked_test_scans=int(flags["patient_leaked"].sum()),
        test_scans_of_train_patients=int(flags["test_of_train_patients"].sum()),
        patients=len(_patients(scans)),
        patients_in_both_folders=len(_patients(scans, flags["train"]) & _patients(scans, flags["test"])),
        scans_without_patient=int(flags["without_patient"].sum()),
        classes=[_of_class(scans, flags, name) for name in names],
        copy_kinds=[CopyKind(kind=kind, pairs=int((pairs.kind == kind).sum())) for kind in kinds],
        best_matches=_best_matches(scans),
        examples=_shown(examples(pairs, scans), scans),
    )


def _flags(scans: Scans) -> dict[str, np.ndarray]:
    """Mark the scans that `ClassCounts` counts, bool [N] each, by the name of its field."""
    train, test = _not_for_test(scans), scans.official_split == "test"
    how, known = leaked(scans), scans.patient != ""
    shared = known & np.isin(scans.patient, scans.patient[train])
    joined = units(scans)
    return {
        "train": train,
        "test": test,
        "leaked": how == "copy",
        "source_conflicts": _contradicted(scans),
        "without_patient": ~known,
        "patient_leaked": how == "patient",
        "test_of_train_patients": test & shared,
        # The scans left for training if every scan of the test set's patients were dropped.
        "train_of_other_patients": train & known & ~np.isin(joined, joined[test]),
    }


def _of_class(scans: Scans, flags: dict[str, np.ndarray], name: str) -> ClassCounts:
    own = scans.class_name == name
    in_test = _patients(scans, own & flags["test"])
    return ClassCounts(
        class_name=name,
        scans=int(own.sum()),
        distinct=len(np.unique(scans.group[own])),
        patients=len(_patients(scans, own)),
        patients_train=len(_patients(scans, own & flags["train"])),
        patients_test=len(in_test),
        patients_in_both=len(in_test & _patients(scans, flags["train"])),
        **{key: int((own & flag).sum()) for key, flag in flags.items()},
    )


def _patients(scans: Scans, rows: np.ndarray | slice = np.s_[:]) -> set[str]:
    """Return the known patients of some rows."""
    return set(scans.patient[rows].tolist()) - {""}


def _best_matches(scans: Scans) -> list[MatchBin]:
    """Count scans by their highest correlation with another, with and without a copy."""
    has_copy = np.bincount(scans.group)[scans.group] > 1
    copies, _ = np.histogram(scans.best_match[has_copy], BEST_MATCH_EDGES)
    others, _ = np.histogram(scans.best_match[~has_copy], BEST_MATCH_EDGES)
    rows = zip(pairwise(BEST_MATCH_EDGES), copies.tolist(), others.tolist(), strict=True)
    return [MatchBin(lower=lower, upper=upper, copies=own, others=other) for (lower, upper), own, other in rows]


def _shown(pairs: Pairs, scans: Scans) -> list[CopyExample]:
    columns = {column.name: getattr(pairs, column.name).tolist() for column in fields(pairs)}
    classes = np.stack([scans.class_name[pairs.a], scans.class_name[pairs.b]], axis=1).tolist()
    columns["class_name"] = [" / ".join(dict.fromkeys(names)) for names in classes]
    return [CopyExample(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
