"""What the predictions on the test scans are worth."""

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support


def score(actual: np.ndarray, predicted: np.ndarray, class_names: list[str], negative_class: str | None) -> dict:
    """Score predicted against actual classes, as metrics/test.json holds it. All shares lie in [0, 1].

    What is undefined is None, never 0:

    - recall (also called the accuracy of a class) of a class without test scans;
    - precision of a class that is never predicted;
    - F1 = 2 TP / (2 TP + FP + FN) of a class that is neither: one that has scans and is never predicted has F1 0;
    - a mean over the classes, as soon as one class has no value: the mean over the others is another quantity, and
      would reward a model for never predicting a hard class;
    - missed tumours and false alarms without a negative class, or without a scan of the kind.

    Args:
        actual: int [N], class index of every test scan, N > 0.
        predicted: int [N], class index that was predicted for it.
        class_names: name of every class index.
        negative_class: the healthy class; None where there is none.

    Returns:
        Scalars: `scans` (N), `accuracy`, `balanced_accuracy` (mean recall), `macro_precision`, `macro_f1`,
        `missed_tumours` (share of the other classes' scans that are called `negative_class`), `false_alarms` (share
        of the scans of `negative_class` that are called another class). One list, `classes`, in the order of
        `class_names`: `class`, `scans`, `predicted` (counts), `accuracy`, `precision`, `recall`, `f1`, and
        `predicted_as`, the row of the confusion matrix.

    Raises:
        ValueError: there is no scan, or the arrays differ in length.
    """
    if len(actual) == 0:
        raise ValueError("there is no test scan to score")
    labels = np.arange(len(class_names))
    confusion = confusion_matrix(actual, predicted, labels=labels)
    precision, recall, f1, _ = precision_recall_fscore_support(actual, predicted, labels=labels, zero_division=np.nan)
    missed_tumours = false_alarms = None
    if negative_class is not None:
        healthy = labels == class_names.index(negative_class)
        missed_tumours = _share(confusion[~healthy][:, healthy], confusion[~healthy])
        false_alarms = _share(confusion[healthy][:, ~healthy], confusion[healthy])
    return {
        "scans": len(actual),
        "accuracy": float(accuracy_score(actual, predicted)),
        "balanced_accuracy": _defined(recall.mean()),
        "macro_precision": _defined(precision.mean()),
        "macro_f1": _defined(f1.mean()),
        "missed_tumours": missed_tumours,
        "false_alarms": false_alarms,
        "classes": [
            {
                "class": name,
                "scans": int(confusion[index].sum()),
                "predicted": int(confusion[:, index].sum()),
                "accuracy": _defined(recall[index]),
                "precision": _defined(precision[index]),
                "recall": _defined(recall[index]),
                "f1": _defined(f1[index]),
                "predicted_as": dict(zip(class_names, confusion[index].tolist(), strict=True)),
            }
            for index, name in enumerate(class_names)
        ],
    }


def _share(part: np.ndarray, whole: np.ndarray) -> float | None:
    return float(part.sum() / whole.sum()) if whole.sum() else None


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
