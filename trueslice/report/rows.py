"""The tables of the report: their heads and rows."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from trueslice.report import text
from trueslice.report.provenance import flat
from trueslice.report.run import BASELINES, EXPOSURES, Run, count, interval, limits, percent, points, value

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
OF_TUMOURS = {"all": "all", "class": "{}", "size": "{} ones", "answer": "answer is {}"}
OF_SETS = {
    "files": "Files", "unreadable": "Unreadable", "dropped_as_development": "Left out: copies of development scans",
    "dropped_within": "Left out: copies within the set", "kept": "Scored", "kept_distinct": "Scored, distinct",
}  # fmt: skip
SPLIT = {
    "train": "Training", "val": "Validation", "test": "Test", "dropped_as_leaked": "Dropped: copies",
    "dropped_as_conflicting": "Dropped: conflicting labels", "dropped_at_random": "Dropped at random",
    "dropped_as_repeated": "Dropped: repeated", "leaked_test_scans": "Test scans with a copy in Training",
}  # fmt: skip


def overall_rows(run: Run) -> Iterable[tuple[str, list[str]]]:
    """Each score of all classes, with its value and interval; in place of an interval, why there is none."""
    names = OVERALL
    if run.negative is not None:
        names = names | {score: name.format(run.negative) for score, name in OF_THE_NEGATIVE.items()}
    for score, name in names.items():
        record = run.record(score)
        note = interval(record, score) or record["reason"] or ""
        if score == "ece":
            note = f"{run.test['calibration']['ece_if_calibrated']:.3f} by chance if perfectly calibrated"
        yield name, [value(record["value"], score), note]


def class_rows(run: Run) -> tuple[list[tuple], list[str]]:
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


class Brief(NamedTuple):
    """A row of the table in brief; the numbers are what its small picture of the interval shows."""

    name: str
    cells: list[str]  # accuracy, and interval or why there is none
    scans: str
    accuracy: float | None
    low: float | None
    high: float | None


def brief_rows(run: Run) -> Iterable[Brief]:
    """Accuracy with its interval, and scans: on the test set, by exposure, on other sets, and of the best baseline."""
    record = run.record("accuracy")
    yield _brief("Internal test", record | {"accuracy": record["value"]}, run.test["scans"])
    if len(run.exposures) > 1:
        for row in run.exposures:
            yield _brief(f"– of it, {EXPOSURES[row['exposure']]}", row, row["scans"])
    for each in run.external["sets"]:
        yield _brief(f"External test, {each['set']}", each, each["kept"])
    best = max(run.baselines["baselines"], key=lambda row: row["accuracy"])
    yield _brief(f"Internal test, best baseline: {BASELINES[best['baseline']]}", best, run.test["scans"])


def _brief(name: str, row: Mapping, scans: int) -> Brief:
    return Brief(name, list(_accuracy_cells(row)), f"{scans:,}", row["accuracy"], row["low"], row["high"])


def _accuracy_cells(row: Mapping) -> tuple[str, str]:
    """The accuracy of a row, and its interval or the reason why there is none."""
    return value(row["accuracy"], "accuracy"), interval(row, "accuracy") or row["reason"] or "–"


def tables(run: Run) -> dict[str, list[tuple[list[str], list[tuple]]]]:
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
    if run.explain is not None and run.explain["scans"]:
        tables[text.EXPLAINED] = [_explained(run.explain["rows"])]
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


def _explained(rows: Sequence[Mapping]) -> tuple[list[str], list[tuple]]:
    """Pointing of the explanation and of the fixed point, and energy, for all tumours and for each kind of them."""
    found = {(row["by"], row["value_of"], row["of"], row["score"]): row for row in rows}
    cells = [(of, "pointing") for of in ("explanation", "fixed_point")]
    cells += [(of, "energy") for of in ("explanation", "uniform")]
    written = []
    for by, name in dict.fromkeys(key[:2] for key in found):
        own = [found[by, name, *cell] for cell in cells]
        numbers = f"{count(own[0]['scans'], 'scan')}, {count(own[0]['units'], 'unit')}"
        shown = [[value(row["value"], "accuracy"), interval(row, "accuracy").replace(" to ", "–")] for row in own]
        written.append(([OF_TUMOURS[by].format(name), numbers], *shown))
    pointing = ["Highest place in the tumour", "The same, fixed point"]
    return ["Tumours", *pointing, "Share of the map in it", "Share of the head in it"], written


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
                yield title, *(_cell(each["tumour"][place], name) if each["tumour"] else "–" for each in sets)


def _sensitivity(row: Mapping) -> list[str]:
    if not row["kept"]:
        return ["–"]
    return [f"{value(row['recall'], 'recall')} of {row['kept']:,}", interval(row, "recall").replace(" to ", "–")]


def split_keys(run: Run) -> list[str]:
    return [key for key in SPLIT if run.split[key] or key in ("train", "val", "test")]


def split_rows(run: Run) -> Iterable[tuple[str, ...]]:
    for row in [*run.split["classes"], run.split | {"class": "all"}]:
        yield row["class"], *(f"{row[key]:,}" for key in split_keys(run))


def settings(run: Run) -> Iterable[tuple[str, str]]:
    """What decided the numbers: without devices, and without the settings of sources that were not taken."""
    for key, setting in flat(run.settings):
        other = key.count(".") > 1 and key.startswith("data.") and key.split(".")[1] != run.settings["data"]["source"]
        if not other and not key.endswith(".device"):
            yield key, setting if isinstance(setting, str) else json.dumps(setting)
