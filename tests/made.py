"""Predictions and settings of models, made up for tests."""

import numpy as np

from trueslice.params import Decode
from trueslice.records.confidence import ConfidenceRange
from trueslice.records.ood import OodWarnings
from trueslice.records.released import FORMAT, HeatMaps, ReleasedModel
from trueslice.records.trained import Checkpoint, TrainedModel
from trueslice.tables.external import ExternalPredictions
from trueslice.tables.predictions import ModelPredictions, Predictions

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")


def table(y_true, probabilities, group=None, class_names=None, leaked="", kind=Predictions, **columns):
    """A table of predictions, by default of distinct scans that are named by their number."""
    probabilities, count = np.asarray(probabilities, float), len(y_true)
    values = {
        "class_names": tuple(class_names or CLASSES[: probabilities.shape[1]]),
        "path": np.array([f"{scan:04}.jpg" for scan in range(count)]),
        "pixel_hash": np.array([f"{scan:032x}" for scan in range(count)]),
        "group": np.arange(count) if group is None else np.asarray(group),
        "patient": np.full(count, ""),
        "unit": np.arange(count) if group is None else np.asarray(group),
        "leaked": np.broadcast_to(leaked, count),
        "exposure": np.full(count, "unknown"),
        "y_true": np.asarray(y_true, int),
        "y_pred": probabilities.argmax(axis=1),
        "probabilities": probabilities,
    }
    return kind(**values | columns)


def model_table(y_true, probabilities, **columns):
    """The same of the fine-tuned model; its temperature is 1 unless `logits` are given."""
    y_pred = np.asarray(probabilities).argmax(axis=1)
    with np.errstate(divide="ignore"):
        logits = np.maximum(np.log(np.asarray(probabilities, float)), -700)
    beside = {"logits": logits, "upside_down": y_pred, "similarity": np.linspace(0, 1, len(y_true))}
    beside["distance"] = np.linspace(0, 1, len(y_true))
    return table(y_true, probabilities, **({"kind": ModelPredictions} | beside | columns))


def external_table(rows: list[tuple[int, int, str]], group=None, name="other", **columns) -> ExternalPredictions:
    """From true class, predicted class and why it was dropped; the predicted class has a probability of 0.7."""
    y_true, y_pred = np.array([row[:2] for row in rows]).T
    count = len(rows)
    values = {
        "class_names": CLASSES,
        "name": np.full(count, name),
        "path": np.array([f"{row}.jpg" for row in range(count)]),
        "pixel_hash": np.array([f"{row:032x}" for row in range(count)]),
        "group": np.arange(count) if group is None else np.array(group),
        "dropped": np.array([row[2] for row in rows]),
        "probabilities": np.full((count, 4), 0.1) + 0.6 * np.eye(4)[y_pred],
    }
    return ExternalPredictions(**values | columns, y_true=y_true, y_pred=y_pred)


def one_hot(y_pred, count: int) -> np.ndarray:
    return np.eye(count)[np.asarray(y_pred, int)]


def labels(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted class indices, int [N] each, that have this confusion matrix."""
    y_true, y_pred = np.indices(confusion.shape)
    return np.repeat(y_true.ravel(), confusion.ravel()), np.repeat(y_pred.ravel(), confusion.ravel())


def trained_model(**values) -> TrainedModel:
    """What a model says of itself after training, some of it with other values."""
    made = {
        "classes": {name: [f"a scan with {name}"] for name in CLASSES},
        "checkpoint": Checkpoint(name="tiny", revision=None),
        "seed": 0,
        "train": {"epochs": 1},
        "temperature": 1.0,
        "wise_ft_alpha": None,
        "splits_sha256": "0" * 64,
        "versions": {"torch": "2.0", "transformers": "5.0"},
    }
    return TrainedModel(**made | values)


def released_model(**values) -> ReleasedModel:
    """The same of a released model, without the hashes of its files."""
    rate = {"error_rate": 0.1, "low": 0.02, "high": 0.4, "method": "exact", "reason": None}
    made = {
        "format": FORMAT,
        "drawn": False,
        "decode": Decode(image_size=80, colour=False, max_pixels=10**6),
        "copy_threshold": 0.98,
        "ood": OodWarnings(threshold=0.5, rates=[]),
        "confidence": [ConfidenceRange(lower=0, upper=1, scans=10, **rate)],
        "explain": HeatMaps(shown=False, reason="no scan has a mask"),
        "files": {},
    }
    return ReleasedModel(**vars(trained_model()) | made | values)
