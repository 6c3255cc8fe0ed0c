"""Scores per patient: metrics/patients.json.

The answer for a patient is that of an ensemble: the mean probability of all distinct scans of the patient. It says
nothing of a single scan. A patient counts once, and so does each group of copies of a patient's scan.
"""

from collections.abc import Collection, Iterator
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.special import softmax

from trueslice.evaluate import metrics, tumour
from trueslice.evaluate.intervals import SHARE, ConfusionBootstrap, Estimate, GroupBootstrap, Interval
from trueslice.evaluate.subsets import EXPOSURES
from trueslice.params import Evaluate
from trueslice.records.intervals import Score
from trueslice.records.patients import ClassPatients, PatientGroup, PatientScores
from trueslice.tables.predictions import Predictions
from trueslice.train import temperature

NUMBERS = {"1": (1, 1), "2 to 4": (2, 4), "5 or more": (5, np.inf)}  # of distinct scans of a patient
FEW = 3  # scans of a patient that are drawn, to see how much of the accuracy comes from more
DRAWS = 100
SEED = 0
NO_ESTIMATE = Estimate(np.nan, Interval())


class Ensembles(NamedTuple):
    """The P known patients of a table, each with scans of one class, and their N distinct scans."""

    scans: Predictions  # a row for each distinct scan; path and pixels are those of its first copy
    patients: Predictions  # a row for each patient; path and pixels are those of the first scan
    own: np.ndarray  # row of the patient of each scan: int [N]
    left_out: int  # patients with scans under several classes

    @property
    def numbers(self) -> np.ndarray:
        """The number of distinct scans of each patient: int [P]."""
        return np.bincount(self.own, minlength=len(self.patients))


def ensembles(predictions: Predictions) -> Ensembles:
    """Average the probabilities over copies, and then over the distinct scans of each patient."""
    names, numbers = np.unique(predictions.patient, return_inverse=True)
    has_class = np.zeros((len(names), len(predictions.class_names)), bool)
    has_class[numbers, predictions.y_true] = True
    known, several = names != "", has_class.sum(axis=1) > 1
    rows = (known & ~several)[numbers]
    groups = np.unique(predictions.group, return_inverse=True)[1]
    scans = _averaged(predictions.take(rows), (numbers * len(predictions) + groups)[rows])
    own = np.unique(scans.patient, return_inverse=True)[1]
    return Ensembles(scans, _averaged(scans, own), own, int((known & several).sum()))


def _averaged(predictions: Predictions, keys: np.ndarray) -> Predictions:
    """Join rows with equal `keys`, int [N]: the first of them with their mean probabilities and closest exposure."""
    _, first, numbers = np.unique(keys, return_index=True, return_inverse=True)
    shares = np.zeros((len(first), len(predictions.class_names)))
    np.add.at(shares, numbers, predictions.probabilities)
    shares /= np.bincount(numbers, minlength=len(first))[:, None]
    closest = np.full(len(first), len(EXPOSURES) - 1)
    np.minimum.at(closest, numbers, np.array([EXPOSURES.index(each) for each in predictions.exposure.tolist()], int))
    rows = predictions.take(first)
    columns = {each.name: getattr(rows, each.name) for each in fields(Predictions)}
    found = {"probabilities": shares, "y_pred": shares.argmax(axis=1), "exposure": np.array(EXPOSURES)[closest]}
    return Predictions(**columns | found)


def score(predictions: Predictions, validation: Predictions, params: Evaluate | None) -> PatientScores:
    """Score the ensembles of the test scans; their temperature and thresholds are fitted to those of `validation`.

    Without `params`, tumours are not held against healthy scans.
    """
    found, fitted, divisor = ensembles(predictions), ensembles(validation).patients, None
    if len(fitted):
        divisor = temperature.fit(_logs(fitted), fitted.y_true)
        fitted, found = _tempered(fitted, divisor), found._replace(patients=_tempered(found.patients, divisor))
    names = predictions.class_names
    classes = [_of_class(found, index) for index in range(len(names))]
    lacking = [each.class_name for each in classes if not each.patients]
    negative = names.index(params.negative_class) if params and params.negative_class is not None else None
    scored: dict[str, Any] = {"scores": [], "groups": [], "tumour": None}
    if len(found.patients):
        scored |= {"scores": [*_scores(found, lacking, negative)], "groups": [*_groups(found)]}
        if params and negative is not None and 0 < classes[negative].patients < len(found.patients):
            bootstrap = GroupBootstrap(found.patients.unit)
            scored["tumour"] = tumour.score(found.patients, fitted, negative, params, bootstrap)
    return PatientScores(
        patients=len(found.patients),
        scans=len(found.scans),
        most_scans=int(found.numbers.max(initial=0)),
        patients_left_out=found.left_out,
        scans_without_patient=int((predictions.patient == "").sum()),
        reason=_no_patient(lacking) if lacking else None,
        temperature=divisor,
        validation_patients=len(fitted),
        classes=classes,
        **scored,
    )


def _logs(patients: Predictions) -> np.ndarray:
    return np.log(np.maximum(patients.probabilities, np.finfo(float).tiny))


def _tempered(patients: Predictions, divisor: float) -> Predictions:
    """Divide the log of the mean probabilities by a temperature; this changes no predicted class."""
    return replace(patients, probabilities=softmax(_logs(patients) / divisor, axis=1))


def _of_class(found: Ensembles, index: int) -> ClassPatients:
    patients = found.patients
    own = patients.y_true == index
    return ClassPatients(
        class_name=patients.class_names[index],
        patients=int(own.sum()),
        scans=int(found.numbers[own].sum()),
        predicted_as=np.bincount(patients.y_pred[own], minlength=len(patients.class_names)).tolist(),
    )


def _scores(found: Ensembles, lacking: Collection[str], negative: int | None) -> Iterator[Score]:
    """Yield the scores of all classes together, then those of each; none of a class that is `lacking`."""
    patients, scans = found.patients, found.scans
    bootstrap, confusions = GroupBootstrap(patients.unit), ConfusionBootstrap([patients])
    right = np.bincount(found.own, weights=scans.y_pred == scans.y_true) / found.numbers
    yield _score("accuracy", confusions.estimate(metrics.accuracy))
    yield _score("accuracy_of_one_scan", bootstrap.mean(right))
    yield _score("accuracy_of_few_scans", bootstrap.mean(_of_few(found)))
    for macro in (metrics.balanced_accuracy, metrics.macro_f1):
        yield _score(macro.__name__, NO_ESTIMATE if lacking else confusions.estimate(macro), lacking)
    if negative is not None:
        yield _score("missed_tumours", confusions.estimate(metrics.missed_tumours, negative), lacking)
        yield _score("false_alarms", confusions.estimate(metrics.false_alarms, negative), lacking)
    for loss in (metrics.nll, metrics.brier):
        values = loss(patients.y_true, patients.probabilities)
        yield _score(loss.__name__, bootstrap.loss(loss.__name__, values, patients.y_true))
    of_class = patients.y_true[:, None] == np.arange(len(patients.class_names))
    numbers = np.repeat(found.numbers[:, None], of_class.shape[1], axis=1)
    by_class = {
        "recall": confusions.estimates(metrics.recall),
        "f1": confusions.estimates(metrics.f1),
        "auroc": bootstrap.ranking(metrics.auroc, of_class, patients.probabilities)[1:],
        "average_precision": bootstrap.ranking(metrics.average_precision, of_class, patients.probabilities)[1:],
        "auroc_of_number": bootstrap.ranking(metrics.auroc, of_class, numbers)[1:],
    }
    for name, estimates in by_class.items():
        for class_name, estimate in zip(patients.class_names, estimates, strict=True):
            own = [class_name] if class_name in lacking else lacking
            yield _score(name, NO_ESTIMATE if class_name in lacking else estimate, own, class_name)


def _score(name: str, estimate: Estimate, lacking: Collection[str] = (), class_name: str | None = None) -> Score:
    if np.isnan(estimate.value):
        estimate = Estimate(np.nan, Interval(reason=_no_patient(lacking)))
    return Score(score=name, class_name=class_name, **estimate.fields("value"))


def _no_patient(class_names: Collection[str]) -> str:
    """Say why a score that needs patients of these classes has no value."""
    return f"no patient of {' and '.join(class_names)} is known"


def _of_few(found: Ensembles) -> np.ndarray:
    """Compute how often the ensemble of a few of a patient's scans, drawn at random, is right: float64 [P]."""
    generator, right = np.random.default_rng(SEED), np.zeros(len(found.patients))
    starts = np.cumsum(found.numbers) - found.numbers
    for _ in range(DRAWS):
        drawn = generator.permutation(len(found.own))
        ordered = drawn[np.argsort(found.own[drawn], kind="stable")]
        few = ordered[np.arange(len(ordered)) - starts[found.own[ordered]] < FEW]
        patients = _averaged(found.scans.take(few), found.own[few])
        right += patients.y_pred == patients.y_true
    return right / DRAWS


def _groups(found: Ensembles) -> Iterator[PatientGroup]:
    """Yield the accuracy by number of distinct scans, and by exposure: the closest that any of them has."""
    patients, numbers = found.patients, found.numbers
    bootstrap, right = GroupBootstrap(patients.unit), patients.y_pred == patients.y_true
    parts = {("scans", name): (numbers >= low) & (numbers <= high) for name, (low, high) in NUMBERS.items()}
    parts |= {("exposure", name): patients.exposure == name for name in EXPOSURES}
    for (by, value), among in parts.items():
        if among.any():
            accuracy = bootstrap.share(right, among).fields("accuracy", SHARE)
            yield PatientGroup(by=by, value=value, patients=int(among.sum()), **accuracy)
