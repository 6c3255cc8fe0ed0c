"""Labels that may be wrong, and copies that may be none, the most doubtful first, for people to look at."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from trueslice.copies import groups
from trueslice.errors import UserError
from trueslice.tables.predictions import Predictions
from trueslice.tables.rows import shown
from trueslice.tables.scans import Groups, Pairs, Scans
from trueslice.tables.suspects import Suspects

EVIDENCE = ("source", "copies", "model")  # the strongest first


def mean_probabilities(scans: Scans, tables: Sequence[Predictions]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the mean probabilities of each scan, [N, K], and the names of the K classes; NaN without a prediction.

    Predictions of models that were trained on a copy of the scan do not count: they know its label.

    Raises:
        UserError: the predictions are of other scans or classes.
    """
    class_names = tables[0].class_names
    if others := {*scans.class_name.tolist()} - {*class_names}:
        raise UserError(f"the predictions do not know the class {shown(min(others))} of data/scans; predict again")
    row_of = {path: row for row, path in enumerate(scans.path.tolist())}
    sums, counts = np.zeros((len(scans), len(class_names))), np.zeros((len(scans), 1))
    for table in tables:
        if table.class_names != class_names:
            raise UserError(f"the predictions are of {shown(*class_names)} and of {shown(*table.class_names)}")
        own = table.take(table.exposure != "copy")
        there = np.array([path in row_of for path in own.path.tolist()], bool)
        own = own.take(there)  # decisions may have left others out
        rows = np.array([row_of[path] for path in own.path.tolist()], int)
        np.add.at(sums, rows, own.probabilities)
        np.add.at(counts, rows, 1)
    if not counts.any():
        raise UserError("no scan of data/scans has a prediction by a model that knows no copy of it; name other runs")
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0), class_names


def rank(scans: Scans, probabilities: np.ndarray, class_names: Sequence[str]) -> Suspects:
    """Rank the N scans by the evidence against their labels, then by the probability of the label, the lowest first.

    That probability, by models that were not trained on the scan, is the self-confidence of confident learning
    (Northcutt et al. 2021). `probabilities` are [N, K], NaN where there is none. Copies under one class are one item,
    with the mean of their probabilities. Scans without any evidence are not ranked.
    """
    classes = np.array([list(class_names).index(name) for name in scans.class_name.tolist()])
    _, item = np.unique(np.stack([scans.group, classes], axis=1), axis=0, return_inverse=True)
    known = ~np.isnan(probabilities[:, 0])
    sums = np.zeros((item.max() + 1, len(class_names)))
    np.add.at(sums, item[known], probabilities[known])
    counts = np.bincount(item[known], minlength=len(sums))[:, None]
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)[item]
    confidence = means[np.arange(len(scans)), classes]
    others = np.where(np.arange(len(class_names)) == classes[:, None], -1.0, np.nan_to_num(means))
    suggested = np.array(class_names)[others.argmax(axis=1)].astype(object)
    evidence = np.where(np.isnan(confidence), "", "model").astype(object)
    _judge_by_copies(scans, suggested, evidence)
    of_source = (scans.source_class != "") & (scans.source_class != scans.class_name)
    suggested[of_source], evidence[of_source] = scans.source_class[of_source], "source"
    strength = np.array([EVIDENCE.index(each) if each else -1 for each in evidence.tolist()])
    rows = np.flatnonzero(strength >= 0)
    order = rows[np.lexsort((rows, item[rows], np.nan_to_num(confidence[rows], nan=2), strength[rows]))]
    changes = np.diff(item[order], prepend=-1) != 0
    return Suspects(
        np.cumsum(changes),
        scans.path[order],
        scans.class_name[order],
        suggested[order].astype(str),
        evidence[order].astype(str),
        confidence[order],
        scans.group[order],
    )


def _judge_by_copies(scans: Scans, suggested: np.ndarray, evidence: np.ndarray) -> None:
    """Mark the scans that have copies under another class, and suggest it, unless their source confirms their label."""
    for number in np.unique(scans.group[groups.of_two_classes(scans)]).tolist():
        rows = np.flatnonzero(scans.group == number)
        classes = Counter(scans.class_name[rows].tolist())
        for row in rows[scans.source_class[rows] != scans.class_name[rows]].tolist():
            others = Counter(classes)
            del others[scans.class_name[row]]
            suggested[row], evidence[row] = others.most_common(1)[0][0], "copies"


def weakest_links(pairs: Pairs, scans: Scans) -> Groups:
    """Return the pair that each group of copies hangs on, the least similar first: without it the group falls in two.

    It is the weakest pair of the group's maximum spanning tree.
    """
    # SciPy takes 0 for no pair, so the weights of the best pairs are a little above.
    weights = 1 - pairs.correlation + 1e-6
    graph = coo_array((weights, (pairs.a, pairs.b)), shape=(len(scans), len(scans))).tocsr()
    tree = minimum_spanning_tree(graph).tocoo()
    links = set(zip(tree.row.tolist(), tree.col.tolist(), strict=True))
    in_tree = np.array([each in links for each in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)], bool)
    own = pairs.take(in_tree)
    own = own.take(np.argsort(own.correlation, kind="stable"))
    _, first = np.unique(scans.group[own.a], return_index=True)
    own = own.take(np.sort(first))
    files = np.bincount(scans.group)[scans.group[own.a]]
    return Groups(scans.group[own.a], files, own.a, own.b, own.kind, own.correlation)
