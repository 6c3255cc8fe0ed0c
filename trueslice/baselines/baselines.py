"""What classifies scans without any fine-tuning: the yardsticks of a fine-tuned encoder.

A nearest neighbour shows how far mere likeness goes, copies and slices of one head included. The border and the grey
histogram show hardly anything of a tumour, so what they reach is what a shortcut is worth: sources, scanners and export
settings that differ from class to class. Zero-shot and the linear probe show what the checkpoint knew before. Nothing
here is tuned but the probe's penalty, on training scans alone. Another baseline is one function and one line in
`BASELINES`.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from trueslice.copies.search import thumbnails
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import Pixels

SIDE = 32  # block means per side of which the border is made
BORDER = 4  # of them, on each side: an eighth of the side
GREY_BINS = 32  # of the histogram, 8 grey values each
TREES = 300
STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0)  # scikit-learn's C: a smaller one keeps weights smaller
FOLDS = 5
STEPS = 200  # of the optimiser at most; more of them refine weights that hardly have a penalty


class Task(NamedTuple):
    """What a baseline may use."""

    train: np.ndarray  # pixels of the training scans, uint8 [N, S, S] or [N, S, S, 3]
    y_train: np.ndarray  # their class indices, int [N]
    units: np.ndarray  # what of them is independent, as in `Splits`, int [N]
    test: np.ndarray  # pixels of the test scans, uint8 [T, ...]
    captions: list[list[str]]  # of each of the K classes
    encoder: Encoder  # the pretrained one


def nearest_neighbour(task: Task) -> np.ndarray:
    """The class of the nearest training scan, by Euclidean distance of 64 x 64 block means, as the files lie."""
    train, test = (thumbnails(pixels).reshape(len(pixels), -1) for pixels in (task.train, task.test))
    return _classified(KNeighborsClassifier(1, algorithm="brute"), task, train, test)


def border_strips(task: Task) -> np.ndarray:
    """A random forest (Breiman 2001) that sees the border alone."""
    return _classified(_forest(), task, border(task.train), border(task.test))


def grey_histogram(task: Task) -> np.ndarray:
    """A random forest that sees how often each grey value occurs, and not where."""
    return _classified(_forest(), task, histogram(task.train), histogram(task.test))


def zero_shot(task: Task) -> np.ndarray:
    """The pretrained encoder, by its similarities to the captions."""
    encoder = task.encoder
    with torch.inference_mode():
        scans = Pixels(task.test, np.arange(len(task.test)), encoder.image_size, encoder.device)
        logits = encoder.logits(scans.all(), encoder.encode_classes(task.captions))
    return logits.double().softmax(dim=1).numpy()


def linear_probe(task: Task) -> np.ndarray:
    """Logistic regression on the pretrained encoder's standardised image features (as in Radford et al. 2021, CLIP).

    C is the value whose models get most of the training scans right that they were not fitted on, nor on others of
    their units; of equal values the smallest.
    """
    train, test = (features(task.encoder, pixels) for pixels in (task.train, task.test))
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    # One thread adds up in one order.
    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        strength = _strength(train, task.y_train, task.units)
        return _classified(LogisticRegression(C=strength, max_iter=STEPS), task, train, test)


# Each takes a `Task` and gives probabilities, float64 [T, K].
BASELINES: dict[str, Callable[[Task], np.ndarray]] = {
    "nearest_neighbour": nearest_neighbour,
    "border_strips": border_strips,
    "grey_histogram": grey_histogram,
    "zero_shot": zero_shot,
    "linear_probe": linear_probe,
}


def border(pixels: np.ndarray) -> np.ndarray:
    """Block means of the outer eighth on each side: float32 [N, 448], in grey values."""
    outside = np.ones((SIDE, SIDE), dtype=bool)
    outside[BORDER:-BORDER, BORDER:-BORDER] = False
    # Other threads add up in another order: the last digits must not decide how a tree splits.
    return thumbnails(pixels, SIDE)[:, outside].round(2)


def histogram(pixels: np.ndarray) -> np.ndarray:
    """Share of grey values in each of 32 equal bins: float64 [N, 32]."""
    counts = [np.bincount(scan.ravel() // (256 // GREY_BINS), minlength=GREY_BINS) for scan in pixels]
    return np.array(counts) / pixels[0].size


def features(encoder: Encoder, pixels: np.ndarray) -> np.ndarray:
    """What the encoder's image tower pools of scans, uint8 [N, S, S] or [N, S, S, 3]: float64 [N, F]."""
    scans = Pixels(pixels, np.arange(len(pixels)), encoder.image_size, encoder.device)
    with torch.inference_mode():
        return torch.cat([encoder.image_features(batch).double().cpu() for batch in scans.all()]).numpy().round(5)


def _strength(x: np.ndarray, y_true: np.ndarray, units: np.ndarray) -> float:
    """The C of a logistic regression that is right most often on units it was not trained on."""
    right = dict.fromkeys(STRENGTHS, 0)
    fewest = min(len(np.unique(units[y_true == label])) for label in np.unique(y_true))
    if fewest >= 2:
        for fitted, held_out in StratifiedGroupKFold(min(FOLDS, fewest)).split(x, y_true, units):
            if len(np.unique(y_true[fitted])) < len(np.unique(y_true)):
                continue  # units with scans of several classes can take all of a class into one fold
            model = LogisticRegression(max_iter=STEPS, warm_start=True)
            for strength in STRENGTHS:
                model.set_params(C=strength).fit(x[fitted], y_true[fitted])
                right[strength] += np.sum(model.predict(x[held_out]) == y_true[held_out])
    return max(right, key=right.get)


def _classified(model, task: Task, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    model.fit(train, task.y_train)
    probabilities = np.zeros((len(task.test), len(task.captions)))
    # The threads of a forest add up its trees in any order: the last digits must not decide between equal classes.
    probabilities[:, model.classes_] = model.predict_proba(test).round(9)
    return probabilities


def _forest() -> RandomForestClassifier:
    return RandomForestClassifier(TREES, random_state=0, n_jobs=-1)
