"""Where the map of scans places them."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from trueslice.inference.projection import plane, principal_components
from trueslice.tables.embedding import EmbeddingMap
from trueslice.tables.known import KnownScans
from trueslice.tables.predictions import Predictions


@pytest.fixture
def rows() -> np.ndarray:
    """200 rows of 8 numbers, of which a few directions vary most."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(200, 8)) * [9, 4, 2, 1, 1, 1, 1, 1]) @ rng.normal(size=(8, 8))


def test_components_are_those_of_scikit_learn_but_for_their_signs(rows):
    coordinates, shares = principal_components(rows.astype(np.float32), 2)
    fitted = PCA(2).fit(rows)
    np.testing.assert_allclose(np.abs(coordinates), np.abs(fitted.transform(rows)), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(shares, fitted.explained_variance_ratio_, rtol=1e-4)


def test_the_sign_does_not_depend_on_the_order_of_the_rows(rows):
    coordinates, _ = principal_components(rows, 2)
    reversed_, _ = principal_components(rows[::-1], 2)
    np.testing.assert_allclose(coordinates, reversed_[::-1], atol=1e-9)


def test_equal_rows_lie_on_one_point_and_show_nothing():
    coordinates, shares = principal_components(np.full((5, 4), 0.1, np.float32), 2)
    assert np.allclose(coordinates, 0) and np.isfinite(shares).all()


def test_the_map_holds_every_known_scan_and_what_the_model_calls_the_test_scans(rows, tmp_path):
    path = np.array([f"{number}.png" for number in range(200)])
    split = np.where(np.arange(200) < 150, "train", "test")
    scans = KnownScans(path, np.where(np.arange(200) % 2, "a", "b"), split, np.arange(200))
    tested = np.flatnonzero(split == "test")[::-1]
    whole = np.zeros(len(tested), int)
    text = whole.astype(str)
    predictions = Predictions(
        class_names=("a", "b"), path=path[tested], pixel_hash=text, group=whole, patient=text, unit=whole,
        leaked=np.full(len(tested), ""), exposure=np.full(len(tested), "neither"), y_true=whole, y_pred=tested % 3 % 2,
        probabilities=np.full((len(tested), 2), 0.5),
    )  # fmt: skip
    drawn, axes = plane(scans, rows, predictions)
    assert drawn.path.tolist() == path.tolist()
    assert (drawn.y_pred[:150] == "").all()
    assert drawn.y_pred[150:].tolist() == [("a", "b")[number % 3 % 2] for number in range(150, 200)]
    assert 1 > axes.variance.x >= axes.variance.y > 0
    drawn.write(tmp_path / "embedding.csv")
    assert np.allclose(EmbeddingMap.read(tmp_path / "embedding.csv").x, drawn.x, atol=1e-4)
