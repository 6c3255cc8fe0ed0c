"""What each figure shows, in words, for those who do not see it: with the numbers that a reader takes from it."""

from collections.abc import Callable

from trueslice.report.run import EXPOSURES, NOT_DEFINED, Run, count, listed, percent, value, with_interval


def alternatives(run: Run) -> dict[str, str]:
    """The alternative text of every figure that the run can have, by name."""
    return {name: describe(run) for name, describe in DESCRIBED.items()}


def _training_loss(run: Run) -> str:
    epochs = run.train["epochs"]
    first, last = (f"{epochs[place]['val_loss']:.2f}" for place in (0, -1))
    return f"Line chart. The validation loss goes from {first} after the first epoch to {last} after the last."


def _epochs(run: Run) -> str:
    best = next(epoch for epoch in run.train["epochs"] if epoch["epoch"] == run.train["best_epoch"])
    return (
        f"Line chart over {count(len(run.train['epochs']), 'epoch')}. The best is epoch {best['epoch']}: training "
        f"accuracy {percent(best['train_accuracy'])}, validation {percent(best['val_accuracy'])}. On the test scans it "
        f"reaches {percent(run.test['accuracy'])}."
    )


def _of_classes(run: Run, score: str, name: str) -> str:
    each = [f"{row['class']} {value(row[score], score)}" for row in run.test["classes"]]
    return f"Bar chart of the {name} of each class: {listed(each)}."


def _confusion(run: Run) -> str:
    names = [row["class"] for row in run.test["classes"]]
    rows = []
    for row in run.test["classes"]:
        called = [f"{number:,} as {names[place]}" for place, number in enumerate(row["predicted_as"]) if number]
        rows.append(f"{row['class']}: {', '.join(called) or 'no scan'}")
    return f"Table of test scans by reference standard and predicted class. {'; '.join(rows)}."


def _reliability(run: Run) -> str:
    filled = [row for row in run.test["reliability"] if row["scans"]]
    low, high = filled[0], filled[-1]
    return (
        f"Line chart of accuracy by confidence. Of {count(low['scans'], 'scan')} with a mean confidence of "
        f"{percent(low['confidence'])}, {percent(low['accuracy'])} are right; of {count(high['scans'], 'scan')} with "
        f"{percent(high['confidence'])}, {percent(high['accuracy'])}."
    )


def _risk(run: Run) -> str:
    rows = run.test["risk_coverage"]["rows"]
    half = min(rows, key=lambda row: abs(row["coverage"] - 0.5))
    return (
        f"Line chart. The share of errors is {percent(half['risk'])} if the model answers for "
        f"{percent(half['coverage'])} of the scans, and {percent(rows[-1]['risk'])} if it answers for all."
    )


def _similarity(run: Run) -> str:
    each = [
        f"{percent(row['accuracy'])} from {row['from']:g} to {row['to']:g} ({count(row['scans'], 'scan')})"
        for row in run.test["similarity"]
        if row["accuracy"] is not None
    ]
    return f"Dot chart of the accuracy by correlation with the most similar training scan: {'; '.join(each)}."


def _matches(run: Run) -> str:
    data, threshold = run.data, run.settings["verify"]["copy_threshold"]
    copies = sum(row["copies"] for row in data["best_matches"])
    return (
        f"Histogram of how much each scan correlates with the one most like it. {count(copies, 'scan')} of "
        f"{data['decoded']:,} have a copy; the threshold is {threshold:g}."
    )


def _exposure(run: Run) -> str:
    each = [
        f"{EXPOSURES[row['exposure']]}: {NOT_DEFINED if row['accuracy'] is None else percent(row['accuracy'])} of "
        f"{count(row['scans'], 'scan')}"
        for row in run.exposures
    ]
    return f"Dot chart of the accuracy by what the model has seen, of all classes and of each. All: {'; '.join(each)}."


def _external(run: Run) -> str:
    each = [f"internal test {percent(run.test['accuracy'])}"]
    each += [f"{row['set']} {value(row['accuracy'], 'accuracy')}" for row in run.external["sets"]]
    return f"Dot chart of accuracies: {', '.join(each)}."


def _roc(run: Run) -> str:
    tumour = run.test["tumour"]
    if tumour is None or tumour["auroc"] is None:
        return f"The ROC curve is {NOT_DEFINED}."
    points = [
        f"Sensitivity {percent(row['sensitivity'])} at a specificity of {percent(row['specificity'])}."
        for row in tumour["operating_points"]
        if row["sensitivity"] is not None and row["specificity"] is not None
    ]
    area = with_interval(tumour, "auroc", "auroc")
    return " ".join([f"ROC curve of tumour against healthy, area {area}.", *points])


def _pairs(run: Run) -> str:
    kinds = sorted({pair["kind"].replace("_", " ") for pair in run.data["examples"]})
    return f"{count(len(run.data['examples']), 'pair')} of scans that are copies of each other: {', '.join(kinds)}."


def _shares(run: Run) -> str:
    each = [
        f"{row['class']} {row['leaked']:,} by a copy and {row['patient_leaked']:,} by the patient, of {row['test']:,}"
        for row in run.data["classes"]
    ]
    return f"Bar chart of published test scans that Training shows too: {'; '.join(each)}."


def _embedding(run: Run) -> str:
    names = listed([row["class"] for row in run.test["classes"]])
    shares = run.embedding["variance"]
    return (
        f"Scatter plot of test and training scans of {names} on two principal components, which show "
        f"{percent(shares['x'] + shares['y'])} of the variance. Wrongly classified test scans are ringed."
    )


def _explanation_worth(run: Run) -> str:
    rows = run.explain["rows"] if run.explain else []
    rows = [row for row in rows if (row["by"], row["score"]) == ("all", "pointing")]
    each = [f"{row['of'].replace('_', ' ')} {percent(row['value'])}" for row in rows]
    return f"Dot chart of how often the highest place lies in the tumour: {', '.join(each)}."


DESCRIBED: dict[str, Callable[[Run], str]] = {
    "training_loss": _training_loss,
    "train_vs_test_accuracy": _epochs,
    "per_class_accuracy": lambda run: _of_classes(run, "recall", "sensitivity"),
    "per_class_f1_score": lambda run: _of_classes(run, "f1", "F1 score"),
    "confusion_matrix": _confusion,
    "reliability": _reliability,
    "risk_coverage": _risk,
    "accuracy_by_similarity": _similarity,
    "copy_matches": _matches,
    "embedding": _embedding,
    "exposure": _exposure,
    "explanation_worth": _explanation_worth,
    "explanations": lambda _: "Test scans beside the same with a map of what matters most to the model over them.",
    "closer_look": lambda _: "Test scans, each in a row with the three training scans most like it to the model.",
    "external": _external,
    "roc": _roc,
    "leaked_pairs": _pairs,
    "leaked_share": _shares,
}
