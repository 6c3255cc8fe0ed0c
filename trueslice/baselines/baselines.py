"""Classifiers without any fine-tuning, with which a fine-tuned encoder is compared.

A nearest neighbour shows how far mere similarity goes, copies and slices of one head included. The border and the grey
histogram show hardly anything of a tumour, so their accuracy is that of a shortcut: sources, scanners and export
settings that differ from class to class. Zero-shot and the linear probe show the knowledge of the checkpoint before.
Nothing is tuned but the probe's penalty, on training scans alone. Another baseline is one function and one line in
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

from trueslice.copies.thumbnails import thumbnails
from trueslice.model.encoder import Encoder, probabilities

SIDE = 32  # block means per side of which the border is made
BORDER = 4  # of them, on each side: an eighth of the side
GREY_BINS = 32  # of the histogram, 8 grey values each
TREES = 300
STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0)  # scikit-learn's C: a smaller one keeps weights smaller
FOLDS = 5
STEPS = 200  # of the optimiser at most; more of them refine weights that hardly have a penalty


class Inputs(NamedTuple):
    """N scans, as baselines may see them."""

    pixels: np.ndarray  # uint8 [N, S, S] or [N, S, S, 3]
    thumbnails: np.ndarray  # float32 [N, 64, 64]
    features: torch.Tensor  # of the pretrained encoder, float32 [N, F]


class Task(NamedTuple):
    """Data that a baseline may use."""

    train: Inputs
    y_train: np.ndarray  # class indices of the N training scans, int [N]
    units: np.ndarray  # independent units of the training scans, as in `Splits`, int [N]
    test: Inputs
    captions: list[list[str]]  # of each of the K classes
    encoder: Encoder  # the pretrained one


def nearest_neighbour(task: Task) -> np.ndarray:
    """Take the class of the nearest training scan, by Euclidean distance of thumbnails, without turning any."""
    train, test = (each.thumbnails.reshape(len(each.thumbnails), -1) for each in (task.train, task.test))
    return _classified(KNeighborsClassifier(1, algorithm="brute"), task, train, test)


def border_strips(task: Task) -> np.ndarray:
    """Fit a random forest (Breiman 2001) on the border alone."""
    return _classified(_forest(), task, border(task.train.pixels), border(task.test.pixels))


def grey_histogram(task: Task) -> np.ndarray:
    """Fit a random forest on the frequencies of grey values, without their places."""
    return _classified(_forest(), task, histogram(task.train.pixels), histogram(task.test.pixels))


def zero_shot(task: Task) -> np.ndarray:
    """Classify by the similarities of the pretrained encoder to the captions."""
    return probabilities(task.encoder.classify(task.test.features, task.captions))


def linear_probe(task: Task) -> np.ndarray:
    """Fit logistic regression on standardised features of the pretrained encoder (as in Radford et al. 2021, CLIP).

    C is chosen by cross-validation over units of the training scans; of equally good values the smallest is taken.
    """
    # Five decimals: the last bits differ between CPUs.
    train, test = (each.features.double().numpy().round(5) for each in (task.train, task.test))
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    # One thread adds up in one order.
    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        strength = _strength(train, task.y_train, task.units)
        return _classified(LogisticRegression(C=strength, max_iter=STEPS), task, train, test)


# Each takes a `Task` and gives probabilities, float64 [T, K].
IN_ORDER = (nearest_neighbour, border_strips, grey_histogram, zero_shot, linear_probe)
BASELINES: dict[str, Callable[[Task], np.ndarray]] = {each.__name__: each for each in IN_ORDER}


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


def _strength(x: np.ndarray, y_true: np.ndarray, units: np.ndarray) -> float:
    """Choose the C with which a logistic regression is right most often on units it was not trained on."""
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
    return max(STRENGTHS, key=right.__getitem__)


def _classified(model, task: Task, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    model.fit(train, task.y_train)
    found = np.zeros((len(test), len(task.captions)))
    # The threads of a forest add up its trees in any order: the last digits must not decide between equal classes.
    found[:, model.classes_] = model.predict_proba(test).round(9)
    return found


def _forest() -> RandomForestClassifier:
    return RandomForestClassifier(TREES, random_state=0, n_jobs=-1)
