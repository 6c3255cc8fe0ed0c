"""The report of a run as one page of HTML, which page.html lays out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tumorclip.report import text
from tumorclip.report.run import (
    BASELINES,
    EXPOSURES,
    Run,
    count,
    interval,
    limits,
    percent,
    points,
    value,
)

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
BY_PATIENT = {
    "patients": "Patients", "patients_train": "In Training", "patients_test": "In Testing",
    "patients_in_both": "In both", "without_patient": "Files without patient",
    "test_of_train_patients": "Test files of patients in Training",
}  # fmt: skip
OF_SETS = {
    "files": "Files", "unreadable": "Unreadable", "dropped_as_development": "Left out: copies of development scans",
    "dropped_within": "Left out: copies within the set", "kept": "Scored", "kept_distinct": "Scored, distinct",
}  # fmt: skip
SPLIT = {
    "train": "Training", "val": "Validation", "test": "Test", "dropped_as_leaked": "Dropped: copies",
    "dropped_as_conflicting": "Dropped: conflicting labels", "dropped_at_random": "Dropped at random",
    "dropped_as_repeated": "Dropped: repeated", "leaked_test_scans": "Test scans with a copy in Training",
}  # fmt: skip
CAPTIONS = {
    "per_class_accuracy": "The share of each class’s test scans that the model recognises.",
    "confusion_matrix": "Test scans by reference standard and predicted class. Those on the diagonal are right.",
    "accuracy_by_similarity": "Accuracy of the test scans by how much they resemble the most similar training scan.",
    "exposure": "Scans whose copy or patient the model has seen should do no better than the others.",
    "external": "Accuracy on the internal test set, and on other data sets without and with copies of known scans.",
    "roc": "Sensitivity by the share of healthy scans called a tumour, with the thresholds that validation chose.",
    "risk_coverage": "How often the model errs if it answers only where it is most confident.",
    "reliability": "On the dotted line, the model is right as often as it says.",
    "per_class_f1_score": "F1 is the harmonic mean of sensitivity and positive predictive value.",
    "leaked_share": "Published test scans of which Training holds a copy, or another scan of the patient.",
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
    html = environment.get_template("page.html").render(
        run=run,
        accuracy=percent(record["value"]),
        interval=interval(record, "accuracy") or f"none: {record['reason']}",
        protocol=_protocol(run),
        unit=run.intervals["unit"],
        cautions=list(_cautions(run)),
        brief=list(_brief_rows(run)),
        statement=text.statement(run),
        tables=_tables(run),
        overall=list(_overall_rows(run)),
        class_scores=PER_CLASS.values(),
        classes=rows,
        reasons=reasons,
        split_names=[SPLIT[key] for key in _split_keys(run)],
        split=list(_split_rows(run)),
        settings=list(_settings(run)),
        figures=[(name, figures[name], caption) for name, caption in CAPTIONS.items() if name in figures],
    )
    return html.replace(" %", "\N{NO-BREAK SPACE}%")


def _protocol(run: Run) -> str:
    if run.split["protocol"] == "official":
        return f"official test set, leaks: {run.settings['split']['leaks']}"
    return f"{run.split['protocol']} split" + (", an approximation" * (run.split["protocol"] == "blocked"))


def _cautions(run: Run) -> Iterable[str]:
    if run.exposed("copy"):
        yield "Inflated: the model was trained or chosen on copies of test scans."
    if patients := run.exposed("patient"):
        yield (
            f"Known patients: for {patients:,} of {count(run.test['scans'], 'test scan')} the model has seen "
            "other scans of the patient. The accuracy on new patients may be lower."
        )
    yield "For research. Not for clinical use."


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


def _brief_rows(run: Run) -> Iterable[tuple]:
    """Accuracy with its interval, and scans: on the test set, by exposure, on other sets, and of the best baseline."""
    tested = f"{run.test['scans']:,}"
    yield "Internal test", list(_accuracy_cells(run.record("accuracy"), "value")), tested
    if len(run.exposures) > 1:
        for row in run.exposures:
            yield f"– of it, {EXPOSURES[row['exposure']]}", list(_accuracy_cells(row)), f"{row['scans']:,}"
    for each in run.external["sets"]:
        yield f"External test, {each['set']}", list(_accuracy_cells(each)), f"{each['kept']:,}"
    best = max(run.baselines["baselines"], key=lambda row: row["accuracy"])
    yield f"Internal test, best baseline: {BASELINES[best['baseline']]}", list(_accuracy_cells(best)), tested


def _accuracy_cells(row: Mapping, key: str = "accuracy") -> tuple[str, str]:
    """The accuracy of a row, and its interval or the reason why there is none."""
    return value(row[key], "accuracy"), interval(row, "accuracy") or row["reason"] or "–"


def _tables(run: Run) -> dict[str, list[tuple[list[str], list[tuple]]]]:
    """The tables, each as its head and rows, that stand under paragraphs of the statement, by heading."""
    tables = {text.UNTUNED: [_baselines(run)]}
    if run.data["patients"]:
        rows = [(row["class"], *(f"{row[key]:,}" for key in BY_PATIENT)) for row in run.data["classes"]]
        tables[text.PATIENTS] = [(["Class", *BY_PATIENT.values()], rows)]
    if len(run.exposures) > 1:
        named = [(EXPOSURES[row["exposure"]], row) for row in run.test["exposure"] if run.exposed(row["exposure"])]
        tables[text.SEEN] = [_by_class("Seen", named)]
    if run.test["by"]:
        named = [(f"{row['column']}: {row['value']}", row) for row in run.test["by"]]
        tables[text.BY] = [_by_class("Kind", named)]
    if run.test["tumour"] is not None:
        tables[text.TUMOURS] = list(_of_tumours(run.test["tumour"]))
    if run.external["sets"]:
        tables[text.EXTERNAL] = [(["", *(each["set"] for each in run.external["sets"])], list(_external_rows(run)))]
    return tables


def _by_class(title: str, named: Sequence[tuple[str, Mapping]]) -> tuple[list[str], list[tuple]]:
    """A row for each name and a column for all classes and for each; a cell has accuracy, interval and numbers."""
    classes = sorted(dict.fromkeys(row["class"] for _, row in named), key=lambda name: name is not None)
    cells = {(name, row["class"]): _lines(row) for name, row in named}
    rows = [
        (name, *(cells.get((name, each), "–") for each in classes)) for name in dict.fromkeys(name for name, _ in named)
    ]
    return [title, *("all classes" if name is None else name for name in classes)], rows


def _lines(row: Mapping) -> list[str]:
    """Accuracy, interval or why there is none, and numbers, one below the other; only numbers where these are few."""
    numbers = f"{count(row['scans'], 'scan')}, {count(row['units'], 'unit')}"
    if row["accuracy"] is None:
        return ["–", numbers]
    accuracy, within = _accuracy_cells(row)
    return [accuracy, within.replace(" to ", "–"), numbers]


def _baselines(run: Run) -> tuple[list[str], list[tuple]]:
    model = run.record("accuracy") | {"accuracy": run.test["accuracy"]}
    model |= {score: run.test[score] for score in ("balanced_accuracy", "macro_f1")}
    named = [(BASELINES[row["baseline"]], row) for row in run.baselines["baselines"]]
    rows = []
    for name, row in [("this model", model), *named]:
        scores = [value(row[score], score) for score in ("balanced_accuracy", "macro_f1")]
        rows.append((name, list(_accuracy_cells(row)), _ahead(row) if row is not model else "–", *scores))
    head = ["Judged by", "Accuracy", "Model ahead, points", "Balanced accuracy", "Macro F1"]
    return head, rows


def _ahead(row: Mapping) -> list[str]:
    """By how many points the model's accuracy is ahead of a baseline's, and the paired interval."""
    difference, low, high = (row[key] for key in ("difference", "difference_low", "difference_high"))
    return [points(difference), "" if low is None else f"{points(low)} to {points(high)}"]


def _of_tumours(tumour: Mapping) -> Iterable[tuple[list[str], list[tuple]]]:
    """Tables of the operating points, and of the predictive values where tumours are as frequent as stated."""
    rows = [
        (
            percent(row["target"]),
            value(row["threshold"], "threshold"),
            _cell(row, "sensitivity"),
            _cell(row, "specificity"),
        )
        for row in tumour["operating_points"]
    ]
    yield ["Set for", "Threshold", "Sensitivity", "Specificity"], rows
    rows = [
        (percent(row["target"]), percent(row["prevalence"]), _cell(row, "ppv"), _cell(row, "npv"))
        for row in tumour["predictive_values"]
    ]
    yield ["Set for", "Share of tumours", "PPV", "NPV"], rows


def _cell(row: Mapping, name: str) -> list[str]:
    """A share and its interval, from a row that has both under `name`, one below the other."""
    return [value(row[name], "accuracy"), interval(limits(row, name), "accuracy").replace(" to ", "–")]


def _external_rows(run: Run) -> Iterable[tuple[str, ...]]:
    """What each data set has of a number, row by row: files first, then scores."""
    sets = run.external["sets"]
    for key, name in OF_SETS.items():
        yield name, *(f"{each[key]:,}" for each in sets)
    cells = [_accuracy_cells(each) for each in sets]
    yield "Accuracy", *(accuracy for accuracy, _ in cells)
    yield "95 % interval", *(within for _, within in cells)
    inside = run.test["accuracy"]
    ahead = ["–" if each["accuracy"] is None else points(each["accuracy"] - inside) for each in sets]
    yield f"Points above the internal test set ({percent(inside)})", *ahead
    yield "Accuracy on the copies left out", *(value(each["accuracy_of_dropped"], "accuracy") for each in sets)
    answered = [each["missing_classes_answered"] for each in sets]
    yield "Called a class that the set lacks", *("–" if share is None else percent(share) for share in answered)
    for place, row in enumerate(run.test["classes"]):
        yield f"Sensitivity: {row['class']}", *(_sensitivity(each["classes"][place]) for each in sets)
    if run.test["tumour"] is not None:
        for place, point in enumerate(run.test["tumour"]["operating_points"]):
            for name in ("sensitivity", "specificity"):
                title = f"Tumours, threshold set for {percent(point['target'])}: {name}"
                yield title, *(_cell(each["tumour"][place], name) for each in sets)


def _sensitivity(row: Mapping) -> list[str]:
    if not row["kept"]:
        return ["–"]
    return [f"{value(row['recall'], 'recall')} of {row['kept']:,}", interval(row, "recall").replace(" to ", "–")]


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
