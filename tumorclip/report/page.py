"""The report of a run as one page of HTML, which page.html lays out."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tumorclip.report.text import BASELINES, Run, interval, percent, statement, value

OVERALL = {
    "accuracy": "Accuracy, per file",
    "accuracy_per_distinct_scan": "Accuracy, per distinct scan",
    "balanced_accuracy": "Balanced accuracy, per file",
    "balanced_accuracy_per_distinct_scan": "Balanced accuracy, per distinct scan",
    "macro_f1": "Macro F1, per file",
    "macro_f1_per_distinct_scan": "Macro F1, per distinct scan",
    "macro_precision": "Macro precision",
    "mcc": "Matthews’ correlation coefficient",
    "cohen_kappa": "Cohen’s kappa",
    "macro_auroc": "Macro AUROC",
    "macro_average_precision": "Macro average precision",
    "nll": "Negative log-likelihood (nats)",
    "brier": "Brier score (0 to 2)",
    "ece": "Expected calibration error (ECE)",
}
# What has a meaning only where one class is the healthy one; {} is its name.
OF_THE_NEGATIVE = {
    "missed_tumours": "Other classes called {}",
    "false_alarms": "{} called another class",
    "upside_down_missed_tumours": "Called {} only once upside down",
}
PER_CLASS = {
    "recall": "Sensitivity", "specificity": "Specificity", "precision": "PPV", "npv": "NPV", "f1": "F1",
    "auroc": "AUROC", "average_precision": "Average precision",
}  # fmt: skip
SPLIT = {
    "train": "Training", "val": "Validation", "test": "Test", "dropped_as_leaked": "Dropped: copies",
    "dropped_as_conflicting": "Dropped: conflicting labels", "dropped_at_random": "Dropped at random",
    "dropped_as_repeated": "Dropped: repeated", "leaked_test_scans": "Test scans with a copy in Training",
}  # fmt: skip
CAPTIONS = {
    "per_class_accuracy": "The share of each class’s test scans that the model recognises.",
    "confusion_matrix": "Test scans by reference label and predicted class. The diagonal holds those that are right.",
    "accuracy_by_similarity": "Accuracy of the test scans by how much they resemble the most similar training scan.",
    "leaked_against_clean": "Scans with a copy in Training should do no better than the others.",
    "reliability": "On the dotted line, the model is right as often as it says.",
    "per_class_f1_score": "F1 is the harmonic mean of sensitivity and positive predictive value.",
    "leaked_share": "How many of the published test scans also stand in the published Training folder.",
    "leaked_pairs": "Examples of copies that the audit found.",
    "copy_matches": "The threshold should stand in a gap between copies and other scans.",
    "train_vs_test_accuracy": "Accuracy in each epoch, and on the test scans with the weights of the best epoch.",
    "training_loss": "Loss at each training step, and on the validation scans after each epoch.",
}


def page(run: Run, figures: Mapping[str, str]) -> str:
    """One page of HTML with headline, statement, tables and figures; it loads nothing but the figures.

    Args:
        run: the run.
        figures: link to the picture, relative to the page, by name of figure.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    rows, reasons = _class_rows(run)
    record = run.record("accuracy")
    text = environment.get_template("page.html").render(
        run=run,
        accuracy=percent(record["value"]),
        interval=interval(record, "accuracy") or f"none: {record['reason']}",
        protocol=_protocol(run),
        statement=statement(run),
        overall=list(_overall_rows(run)),
        class_scores=PER_CLASS.values(),
        classes=rows,
        reasons=reasons,
        baselines=list(_baseline_rows(run)),
        split_names=[SPLIT[key] for key in _split_keys(run)],
        split=list(_split_rows(run)),
        settings=list(_settings(run)),
        figures=[(name, figures[name], caption) for name, caption in CAPTIONS.items() if name in figures],
    )
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _protocol(run: Run) -> str:
    if run.split["protocol"] == "official":
        return f"official test set, leaks: {run.settings['split']['leaks']}"
    return f"{run.split['protocol']} split" + (", an approximation" * (run.split["protocol"] == "blocked"))


def _overall_rows(run: Run) -> Iterable[tuple[str, str, str]]:
    """Name, value and interval of each score of all classes; in place of an interval, why there is none."""
    names = OVERALL
    if run.negative is not None:
        names = names | {score: text.format(run.negative) for score, text in OF_THE_NEGATIVE.items()}
    for score, name in names.items():
        record = run.record(score)
        note = interval(record, score) or record["reason"] or ""
        if score == "ece":
            note = f"{run.test['calibration']['ece_if_calibrated']:.3f} by chance if perfectly calibrated"
        yield name, value(record["value"], score), note


def _class_rows(run: Run) -> tuple[list[tuple], list[str]]:
    """A row for each class, and the reasons why values are missing, to which the cells refer by number.

    Returns:
        Rows of the class's scores, from test.json, and its cells: value, number of the reason (0 for none), interval.
    """
    rows, reasons = [], []
    for scores in run.test["classes"]:
        cells = []
        for score in PER_CLASS:
            record = run.record(score, scores["class"])
            reason = record["reason"]
            if reason and reason not in reasons:
                reasons.append(reason)
            number = reasons.index(reason) + 1 if reason else 0
            cells.append((value(record["value"], score), number, interval(record, score).replace(" to ", "–")))
        rows.append((scores, cells))
    return rows, reasons


def _baseline_rows(run: Run) -> Iterable[tuple[str, ...]]:
    model = run.record("accuracy") | {"accuracy": run.test["accuracy"]}
    model |= {score: run.test[score] for score in ("balanced_accuracy", "macro_f1")}
    named = [(BASELINES[row["baseline"]], row) for row in run.baselines["baselines"]]
    for name, row in [("this model", model), *named]:
        scores = [value(row[score], score) for score in ("balanced_accuracy", "macro_f1")]
        yield name, value(row["accuracy"], "accuracy"), interval(row, "accuracy") or "–", *scores


def _split_keys(run: Run) -> list[str]:
    return [key for key in SPLIT if run.split[key] or key in ("train", "val", "test")]


def _split_rows(run: Run) -> Iterable[tuple[str, ...]]:
    for row in [*run.split["classes"], run.split | {"class": "all"}]:
        yield row["class"], *(f"{row[key]:,}" for key in _split_keys(run))


def _settings(run: Run) -> Iterable[tuple[str, str]]:
    """What decided the numbers: without devices, and without the settings of sources that were not taken."""
    for key, setting in _flat(run.settings):
        other = key.count(".") > 1 and key.startswith("data.") and key.split(".")[1] != run.settings["data"]["source"]
        if not other and not key.endswith(".device"):
            yield key, setting


def _flat(settings: Mapping, prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, setting in settings.items():
        if isinstance(setting, Mapping):
            yield from _flat(setting, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", setting if isinstance(setting, str) else json.dumps(setting)
