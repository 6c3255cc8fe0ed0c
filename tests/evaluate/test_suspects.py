"""The ranking of labels that may be wrong, and the links on which groups of copies hang."""

import numpy as np
import pytest

from tests.made import CLASSES, table
from tests.scan_tables import pair_table, scan_table
from trueslice.errors import UserError
from trueslice.evaluate.suspects import mean_probabilities, rank, weakest_links
from trueslice.tables.suspects import Suspects

G, M, N, P = CLASSES


def probabilities(*labels: float | None) -> np.ndarray:
    """The given probability of the first class, None where there is no prediction; the next class has the rest."""
    first = np.array([np.nan if each is None else each for each in labels])
    return np.stack([first, 1 - first, 0 * first, 0 * first], axis=1)


def ranked(scans, *labels: float | None) -> list[tuple]:
    found = rank(scans, probabilities(*labels), CLASSES)
    columns = (found.rank, found.path, found.suggested, found.evidence)
    return list(zip(*(each.tolist() for each in columns), strict=True))


def test_the_lowest_probability_of_the_label_comes_first_and_the_next_class_is_suggested():
    scans = scan_table([""] * 4, [G, G, M, G], [0, 1, 2, 3])
    assert ranked(scans, 0.9, 0.2, 0.1, 0.5) == [
        (1, "/glioma/1.png", M, "model"),
        (2, "/glioma/3.png", M, "model"),
        (3, "/glioma/0.png", M, "model"),
        (4, "/meningioma/2.png", G, "model"),
    ]


def test_copies_under_one_class_are_one_item_with_the_mean_of_their_probabilities():
    scans = scan_table([""] * 4, [G, G, G, G], [0, 0, 2, 0])
    found = rank(scans, probabilities(0.2, 0.6, 0.5, None), CLASSES)
    assert found.rank.tolist() == [1, 1, 1, 2]
    assert found.path.tolist() == ["/glioma/0.png", "/glioma/1.png", "/glioma/3.png", "/glioma/2.png"]
    assert found.confidence == pytest.approx([0.4, 0.4, 0.4, 0.5])


def test_what_the_source_says_comes_before_copies_of_another_class_and_these_before_a_model():
    # 0 and 1 are copies of two classes, and the source confirms the first; so are 2 and 3, of which no source is known.
    sources = np.array([G, G, "", "", ""])
    scans = scan_table([""] * 5, [G, P, P, M, G], [0, 0, 2, 2, 4], source_class=sources)
    assert ranked(scans, None, 0.9, None, None, 0.01) == [
        (1, "/pituitary/1.png", G, "source"),
        (2, "/meningioma/3.png", P, "copies"),
        (3, "/pituitary/2.png", M, "copies"),
        (4, "/glioma/4.png", M, "model"),
    ]


def test_without_any_evidence_a_scan_is_not_ranked():
    assert ranked(scan_table([""] * 2, [G, G], [0, 1]), None, 0.5) == [(1, "/glioma/1.png", M, "model")]


def test_the_table_comes_back_from_its_file(tmp_path):
    scans = scan_table([""] * 3, [G, P, G], [0, 0, 2])
    found = rank(scans, probabilities(None, None, 0.25), CLASSES)
    found.write(tmp_path / "suspects.csv")
    again = Suspects.read(tmp_path / "suspects.csv")
    assert again.path.tolist() == found.path.tolist()
    assert np.array_equal(again.confidence, found.confidence, equal_nan=True)


def test_predictions_of_several_runs_are_averaged_and_those_of_a_known_copy_do_not_count():
    scans = scan_table(["test"] * 3, [G, G, G], [0, 1, 2], path=np.array(["0000.jpg", "0001.jpg", "0002.jpg"]))
    first = table([0, 0, 0], probabilities(0.8, 0.4, 0.1), exposure=np.array(["neither", "unknown", "copy"]))
    second = table([0], probabilities(0.4))
    found, class_names = mean_probabilities(scans, [first, second])
    assert class_names == CLASSES
    assert found[:2, 0] == pytest.approx([0.6, 0.4]) and np.isnan(found[2]).all()


def test_predictions_that_do_not_fit_are_refused():
    scans = scan_table(["test"], [G], [0])
    with pytest.raises(UserError, match="no scan of data/scans has a prediction"):
        mean_probabilities(scans, [table([0], probabilities(0.5))])
    with pytest.raises(UserError, match="do not know the class 'other'"):
        mean_probabilities(scan_table(["test"], ["other"], [0]), [table([0], probabilities(0.5))])
    two = table([0], np.array([[0.5, 0.5]]))
    with pytest.raises(UserError, match=r"the predictions are of 'glioma', .* and of 'glioma', 'meningioma'"):
        mean_probabilities(scans, [table([0], probabilities(0.5)), two])


def test_a_group_hangs_on_the_weakest_link_that_it_cannot_do_without():
    scans = scan_table([""] * 7, [G] * 7, [0, 0, 0, 0, 4, 4, 6])
    pairs = pair_table((0, 1, "near", 0.99), (0, 2, "near", 0.981), (1, 2, "mirrored", 0.985), (2, 3, "near", 1.0),
                       (4, 5, "aligned", 0.98))  # fmt: skip
    links = weakest_links(pairs, scans)
    columns = (links.group, links.files, links.a, links.b, links.lowest_correlation)
    assert [each.tolist() for each in columns] == [[4, 0], [2, 4], [4, 1], [5, 2], [0.98, 0.985]]
    assert len(weakest_links(pair_table(), scans)) == 0
