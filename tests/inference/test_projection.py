"""Where the map of scans places them."""

import numpy as np

from trueslice.inference.projection import plane
from trueslice.tables.embedding import EmbeddingMap
from trueslice.tables.known import KnownScans
from trueslice.tables.predictions import Predictions


def test_the_map_holds_every_known_scan_and_what_the_model_calls_the_test_scans(tmp_path):
    rows = np.random.default_rng(0).normal(size=(200, 8)) * [9, 4, 2, 1, 1, 1, 1, 1]
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
    assert abs(np.corrcoef(drawn.x, rows[:, 0])[0, 1]) > 0.99 and abs(np.corrcoef(drawn.y, rows[:, 1])[0, 1]) > 0.99
    drawn.write(tmp_path / "embedding.csv")
    assert np.allclose(EmbeddingMap.read(tmp_path / "embedding.csv").x, drawn.x, atol=1e-4)
    alike, axes = plane(scans, np.full((200, 4), 0.1, np.float32), predictions)
    assert np.allclose(alike.x, 0) and np.isfinite(axes.variance.x)
