"""Labels and copies as people have judged them; a decision about a pair counts more than its correlation."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trueslice.copies.search import best_orientations
from trueslice.errors import UserError
from trueslice.files import printable
from trueslice.reading.names import file_of
from trueslice.tables.decisions import Decision, Decisions
from trueslice.tables.rows import shown
from trueslice.tables.scans import Pairs

Names = tuple[str, ...]  # the two paths of a pair


class Judged(NamedTuple):
    """The decisions in force about some scans, by their paths."""

    classes: dict[str, str]  # the correct class of each wrong label
    left_out: list[str]
    same: list[Names]
    different: list[Names]
    strangers: list[str]  # paths in no file of the scans

    def __str__(self) -> str:
        counts = [
            f"{len(some)} {name}"
            for some, name in (
                (self.classes, "in another class"),
                (self.left_out, "left out"),
                (self.same, "pairs the same"),
                (self.different, "pairs different"),
            )
            if some
        ]
        return ", ".join(counts) or "none about these scans"


def read(file: Path, files: Collection[str], class_names: Collection[str]) -> Judged:
    """Read the decisions about the scans in `files`.

    Raises:
        UserError: the file is damaged, or gives a scan a class that is not among `class_names`.
    """
    judged, known = Judged({}, [], [], [], []), {*files}
    for each in Decisions.read(file).in_force():
        missing = [path for path in each.subject if file_of(path) not in known]
        judged.strangers.extend(missing)
        if not missing:
            _add(each, judged)
    for path, name in judged.classes.items():
        if name not in class_names:
            problem = f"{printable(file)} gives {shown(path)} the class {shown(name)}"
            raise UserError(f"{problem}, which is not under `classes:` in params.yaml; correct one of them")
    return judged


def _add(decision: Decision, judged: Judged) -> None:
    if decision.other:
        pairs = {"same": judged.same, "different": judged.different}
        pairs[decision.decision].append(decision.subject)
    elif decision.class_name:
        judged.classes[decision.path] = decision.class_name
    elif decision.decision == "wrong":
        judged.left_out.append(decision.path)


def obey(pairs: Pairs, means: np.ndarray, paths: Sequence[str], judged: Judged) -> tuple[Pairs, list[Names]]:
    """Return the pairs of copies after the decisions, and those judged the same that others contradict.

    Pairs judged the same are copies. Two scans judged different are in no group: of the pairs that join them, also by
    way of other scans, the least similar ones are dropped. `means` are the thumbnails of the scans at `paths`.
    """
    row_of = {path: row for row, path in enumerate(paths)}

    def by_rows(some: Sequence[Names]) -> dict[tuple[int, int], Names]:
        there = [names for names in some if row_of.keys() >= {*names}]
        rows = [sorted(row_of[path] for path in names) for names in there]
        return {(a, b): names for (a, b), names in zip(rows, there, strict=True)}

    same, different = by_rows(judged.same), by_rows(judged.different)
    if not same and not different:
        return pairs, []
    if added := sorted(same.keys() - set(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True))):
        a, b = np.array(added).T
        places = np.arange(2 * len(added)).reshape(2, -1)
        pairs = Pairs.concatenate([pairs, Pairs(a, b, *best_orientations(means[[*a, *b]], *places))])
    rows = list(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True))
    order = np.lexsort((-pairs.correlation, np.array([each not in same for each in rows])))
    kept = _apart([rows[at] for at in order.tolist()], different)
    left = pairs.take(np.array([each in kept for each in rows], bool))
    return left.take(np.lexsort((left.b, left.a))), [names for each, names in same.items() if each not in kept]


def _apart(pairs: Sequence[tuple[int, int]], different: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """Join scans pair by pair, but never two that are `different`, and return the pairs that may stay."""
    group_of: dict[int, int] = {}
    members: dict[int, set[int]] = {}
    foes: dict[int, set[int]] = {}
    for a, b in different:
        foes.setdefault(a, set()).add(b)
        foes.setdefault(b, set()).add(a)
    kept = set()
    for pair in pairs:
        into, other = (group_of.get(row, row) for row in pair)
        if into != other:
            own, others = (members.setdefault(each, {each}) for each in (into, other))
            if len(own) < len(others):
                into, other, own, others = other, into, others, own
            if not foes.get(into, set()).isdisjoint(others):
                continue
            own |= others
            foes.setdefault(into, set()).update(foes.get(other, ()))
            group_of |= dict.fromkeys(others, into)
        kept.add(pair)
    return kept
