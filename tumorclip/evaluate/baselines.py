"""What classifies scans without learning what a tumour looks like: the yardsticks of a fine-tuned encoder.

A nearest neighbour shows how far mere likeness goes, copies and slices of one head included. The border and the grey
histogram show hardly anything of a tumour, so what they reach is what a shortcut is worth: sources, scanners and export
settings that differ from class to class. Nothing here is tuned.
"""

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from tumorclip.data.copies import thumbnails
from tumorclip.evaluate.intervals import GroupBootstrap
from tumorclip.evaluate.score import score

SIDE = 32  # block means per side of which the border is made
BORDER = 4  # of them, on each side: an eighth of the picture
BINS = 32  # of the grey histogram, 8 grey values each
TREES = 300
SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "missed_tumours", "false_alarms")


def predict(train: np.ndarray, train_classes: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    """Classify test scans by each baseline that needs no encoder.

    `nearest_neighbour` takes the class of the training scan at the smallest Euclidean distance, as the files lie,
    among 64 x 64 block means; `border_strips` and `grey_histogram` are random forests (Breiman 2001).

    Args:
        train, test: pixels, uint8 [N, S, S] or [N, S, S, 3] and [T, ...].
        train_classes: class indices, int [N].

    Returns:
        Class indices, int [T], by baseline.
    """
    nearest = KNeighborsClassifier(1, algorithm="brute")
    forest = RandomForestClassifier(TREES, random_state=0, n_jobs=-1)
    kinds = {
        "nearest_neighbour": (nearest, lambda pixels: _flat(thumbnails(pixels))),
        "border_strips": (forest, border),
        "grey_histogram": (forest, histogram),
    }
    return {
        name: model.fit(features(train), train_classes).predict(features(test))
        for name, (model, features) in kinds.items()
    }


def border(pixels: np.ndarray) -> np.ndarray:
    """Block means of the outer eighth on each side: float32 [N, 448], in grey values."""
    inner = slice(BORDER, SIDE - BORDER)
    outside = np.ones((SIDE, SIDE), dtype=bool)
    outside[inner, inner] = False
    return thumbnails(pixels, SIDE)[:, outside]


def histogram(pixels: np.ndarray) -> np.ndarray:
    """Share of grey values in each of 32 equal bins: float64 [N, 32]."""
    counts = [np.bincount(scan.ravel() // (256 // BINS), minlength=BINS) for scan in pixels]
    return np.array(counts) / pixels[0].size


def evaluate(
    actual: np.ndarray,
    groups: np.ndarray,
    predicted: dict[str, np.ndarray],
    class_names: list[str],
    negative_class: str | None,
) -> dict:
    """Score baselines on the test scans: the content of metrics/baselines.json.

    Args:
        actual: class indices, int [N].
        groups: the same for copies of each other, any type, [N].
        predicted: class indices, int [N], by baseline.
        class_names, negative_class: as for `scoring.score`, whose scores these are.

    Returns:
        Scores of each baseline, and the list `baselines` of the same accuracies with their 95 % intervals over groups.
    """
    resamples = GroupBootstrap(groups)
    scores = {name: score(actual, each, class_names, negative_class) for name, each in predicted.items()}
    rows = [
        {"baseline": name, "accuracy": scores[name]["accuracy"]} | resamples.proportion(each == actual)._asdict()
        for name, each in predicted.items()
    ]
    return {name: {key: each[key] for key in SCORES} for name, each in scores.items()} | {"baselines": rows}


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)
