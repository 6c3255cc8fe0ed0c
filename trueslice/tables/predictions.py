"""Predictions of test and validation scans: plots/predictions.csv, data/validation.csv, data/baselines.csv."""

from dataclasses import dataclass

import numpy as np

from trueslice.tables.base import CLASS, EXPOSURE, LEAK, NUMBER, SHARE, SIX_DECIMALS, TEXT, WHOLE, Table, column
from trueslice.tables.rows import shown

ROUNDING = 1e-5  # of a sum of float32


def check_answers(path: np.ndarray, y_pred: np.ndarray, probabilities: np.ndarray) -> None:
    """Raise a ValueError if a predicted class is not one of the highest probability, or probabilities sum not to 1."""
    if len(path):
        own = probabilities[np.arange(len(path)), y_pred]
        wrong = (own < probabilities.max(axis=1)) | (abs(probabilities.sum(axis=1) - 1) > ROUNDING)
        if wrong.any():
            raise ValueError(f"y_pred and the probabilities of {shown(path[wrong][0])} contradict each other")


@dataclass(frozen=True)
class Predictions(Table):
    """Predictions of N scans among K classes; the first columns are as in `Splits`."""

    class_names: tuple[str, ...]  # K of them, in the order of the class indices
    path: np.ndarray = column(TEXT)
    pixel_hash: np.ndarray = column(TEXT)
    group: np.ndarray = column(WHOLE)
    patient: np.ndarray = column(TEXT)
    unit: np.ndarray = column(WHOLE)
    leaked: np.ndarray = column(LEAK)
    # The model was trained or validated on (of a validation scan: trained on) a `copy` of the scan, another scan of its
    # `patient`, or `neither`; `unknown` without a copy and without a known patient.
    exposure: np.ndarray = column(EXPOSURE)
    y_true: np.ndarray = column(CLASS)  # class index
    y_pred: np.ndarray = column(CLASS)  # the class of the highest probability, among equals the first
    # [N, K], rows sum to 1; of the fine-tuned model after temperature.
    probabilities: np.ndarray = column(SHARE, "probability_", per_class=True)

    def _check(self) -> None:
        check_answers(self.path, self.y_pred, self.probabilities)


@dataclass(frozen=True)
class ValidationPredictions(Predictions):
    """Predictions of the validation scans by the fine-tuned model: data/validation.csv."""

    distance: np.ndarray = column(SIX_DECIMALS)  # to the training scans, as in trueslice/ood


@dataclass(frozen=True)
class BaselinePredictions(Predictions):
    """Predictions of every baseline, one after another: data/baselines.csv."""

    baseline: np.ndarray = column(TEXT)


@dataclass(frozen=True)
class ModelPredictions(Predictions):
    """Predictions of the fine-tuned model: plots/predictions.csv, from which every number of a run follows."""

    logits: np.ndarray = column(NUMBER, "logit_", per_class=True)  # [N, K], before temperature
    upside_down: np.ndarray = column(CLASS)  # class index predicted for the scan turned upside down
    similarity: np.ndarray = column(SIX_DECIMALS)  # highest correlation with a training scan in any orientation
    distance: np.ndarray = column(SIX_DECIMALS)  # to the training scans, as in trueslice/ood
