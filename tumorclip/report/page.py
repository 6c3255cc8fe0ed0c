"""The report of a run: what its numbers are worth in plain words, and a page that shows them with its figures."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from string import Template

from tumorclip.evaluate.intervals import MIN_DISTINCT

NOT_DEFINED = "not defined"
NO_COPY = "No test scan has a copy that the audit knows of among those that the model was trained or chosen on."
PERCENTAGES = (
    "accuracy", "accuracy_per_distinct_scan", "balanced_accuracy", "balanced_accuracy_per_distinct_scan",
    "recall", "specificity", "precision", "npv", "missed_tumours", "false_alarms", "upside_down_missed_tumours",
)  # fmt: skip
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
    "missed_tumours": "Other classes called $negative",
    "false_alarms": "$negative called another class",
    "upside_down_missed_tumours": "Called $negative only once upside down",
    "nll": "Negative log-likelihood (nats)",
    "brier": "Brier score (0 to 2)",
    "ece": "Calibration error (ECE)",
}
PER_CLASS = {
    "recall": "Sensitivity", "specificity": "Specificity", "precision": "PPV", "npv": "NPV", "f1": "F1",
    "auroc": "AUROC", "average_precision": "Average precision",
}  # fmt: skip
BASELINES = {
    "nearest_neighbour": "the nearest training scan by its pixels",
    "border_strips": "the border of the scan alone",
    "grey_histogram": "the histogram of grey values alone",
    "zero_shot": "the checkpoint before fine-tuning (zero-shot)",
}
SPLIT = {
    "train": "Training", "val": "Validation", "test": "Test", "dropped_as_leaked": "Dropped: copies",
    "dropped_as_conflicting": "Dropped: conflicting labels", "dropped_at_random": "Dropped at random",
    "dropped_as_repeated": "Dropped: repeated", "leaked_test_scans": "Test scans with a copy in Training",
}  # fmt: skip
FIGURES = {
    "per_class_accuracy": "Accuracy of each class, with 95% intervals",
    "confusion_matrix": "Test scans by actual and predicted class",
    "accuracy_by_similarity": "Accuracy by correlation with the most similar training scan",
    "leaked_against_clean": "Accuracy on test scans with and without a copy in Training",
    "reliability": "Accuracy by confidence, after and before temperature",
    "per_class_f1_score": "F1 score of each class, with 95% intervals",
    "leaked_share": "Share of each class’s published test scans with a copy in Training",
    "leaked_pairs": "Examples of copies that the audit found",
    "copy_matches": "How much each scan correlates with the one most like it",
    "train_vs_test_accuracy": "Accuracy over the epochs",
    "training_loss": "Loss over the training steps",
}


@dataclass(frozen=True)
class Run:
    """What a run measured, and the settings that explain it.

    Attributes:
        data, split, train, test, baselines: as the stages verify, split, train, evaluate and baselines measure them.
        intervals: the records that `tumorclip.evaluate.score.evaluate` returns.
        distinct: number of distinct test scans of each class that has any.
        settings: the sections of params.yaml by name; `split`, `verify`, `data` and `evaluate` at least.
        drawn: whether the scans are phantoms and not of people.
    """

    data: Mapping
    split: Mapping
    train: Mapping
    test: Mapping
    baselines: Mapping
    intervals: Sequence[Mapping]
    distinct: Mapping[str, int]
    settings: Mapping[str, Mapping]
    drawn: bool

    def record(self, score: str, class_name: str | None = None) -> Mapping:
        """The interval of a score; without a value where it was not measured."""
        for row in self.intervals:
            if (row["score"], row["class"]) == (score, class_name):
                return row
        return {"value": None, "low": None, "high": None, "method": None, "reason": "it was not measured"}

    @property
    def negative(self) -> str | None:
        return self.settings["evaluate"]["negative_class"]

    @property
    def trained_on_copies(self) -> bool:
        return "leaked_against_clean" in self.test


def statement(run: Run) -> dict[str, str]:
    """What the numbers of a run rest on and what they do not say: paragraphs by heading, as plain text."""
    parts = {
        "What the scans are": _scans(run),
        "Copies between training and test": _leakage(run),
        "Copies under different classes": _conflicts(run),
        "What the accuracy is": _headline(run),
        "What the intervals cover": [
            "The 95% intervals say how far a score might move with other test scans of the same kind.",
            "They draw whole groups of copies, since a copy adds no evidence.",
            "They do not cover another training seed, and not other hospitals, scanners or ways of exporting scans.",
        ],
        "Whether probabilities can be believed": _calibration(run),
        "What needs no fine-tuning": _yardsticks(run),
        "Which way up": _orientation(run),
        "Limits": _limits(run),
    }
    return {heading: " ".join(sentences) for heading, sentences in parts.items()}


def _scans(run: Run) -> Iterable[str]:
    data, verify = run.data, run.settings["verify"]
    if run.drawn:
        yield "The scans are phantoms, which this project draws; nobody was scanned."
    files, distinct = data["decoded"], data["distinct_scans"]["total"]
    if unreadable := data["unreadable_files"]:
        yield f"{_count(unreadable, 'file')} could not be read and {_were(unreadable)} left out."
    if distinct == files:
        yield f"The audit found no copies: {_count(files, 'file')}, as many distinct scans."
    else:
        yield (
            f"{_count(files, 'file')} are {_count(distinct, 'distinct scan')}: {_count(data['copy_groups'], 'scan')} "
            f"{'occurs' if data['copy_groups'] == 1 else 'occur'} more than once, "
            f"the most frequent in {_count(data['largest_copy_group'], 'file')}."
        )
    yield (
        f"Copies are files that correlate at {verify['copy_threshold']:g} or more, also once they are mirrored, turned "
        "or aligned; those that were altered further are not found."
    )


def _leakage(run: Run) -> Iterable[str]:
    data, split, policy = run.data, run.split, run.settings["split"]
    published = "test" in data["scans"]
    leaked = data["leaked_test_scans"]["total"]
    if published:
        scans = data["scans"]["test"]["total"]
        yield (
            f"{leaked:,} of {_count(scans, 'published test scan')} ({_percent(leaked / scans)}) "
            f"{'has' if leaked == 1 else 'have'} a copy in the published Training folder."
        )
    else:
        yield "The scans come without a published test set."
    if split["protocol"] == "official":
        yield from _official(run, leaked)
        if policy["folds"]:
            yield f"Fold {policy['fold']} of {policy['folds']} of the training scans was the validation set."
    else:
        yield "This run divides all scans anew" + (" and ignores the published division." if published else ".")
        if split["protocol"] == "grouped":
            yield "Copies always stand on the same side (split.protocol: grouped)."
        else:
            yield (
                f"Each class is cut into {policy['blocks']} blocks of consecutive file names, and each block stands on "
                "one side (split.protocol: blocked). A group of copies stands as a whole where its first file does."
            )
            if not run.drawn:
                yield (
                    "Names keep the order of their source, so that blocks stand in for patients; this is an "
                    "approximation."
                )
        if policy["folds"]:
            yield f"Fold {policy['fold']} of {policy['folds']} was the test set."
        yield NO_COPY
    if policy["copies"] == "one":
        repeated = split["dropped_as_repeated"]["total"]
        yield f"Training kept one file of each distinct scan and left out {_count(repeated, 'repetition')}."


def _official(run: Run, leaked: int) -> Iterable[str]:
    leaks, split = run.settings["split"]["leaks"], run.split
    dropped, setting = split["dropped_as_leaked"]["total"], f"(split.leaks: {leaks})"
    if leaks == "drop_train":
        if dropped:
            yield (
                f"The test set stays whole and the {_count(dropped, 'training scan')} that {_are(dropped)} copies of "
                f"test scans {_were(dropped)} dropped {setting}."
            )
        else:
            yield f"The test set stays whole, and no training scan had to be dropped as a copy {setting}."
    elif leaks == "drop_test":
        left = split["test"]["total"]
        if dropped:
            yield (
                f"The test scans with copies were dropped {setting}, so that {_count(left, 'test scan')} "
                f"{_are(left)} left. That is another test set than the published one, and its accuracy is not to be "
                "compared with published ones."
            )
        else:
            yield f"No test scan had to be dropped {setting}."
    elif leaks == "keep":
        yield f"Nothing was done about copies {setting}."
    else:
        at_random = split["dropped_at_random"]["total"]
        yield (
            f"Copies were left where they are, and {_count(at_random, 'training scan')} {_were(at_random)} dropped at "
            f"random, as many of each class as copy test scans {setting}: against a run with drop_train, this shows "
            "what copies add to the accuracy."
        )
    if not run.trained_on_copies:
        yield NO_COPY
        return
    yield ("The model was trained or chosen on copies of test scans, so that its scores on the test set are inflated.")
    mean = run.test["leaked_against_clean"]["mean_over_classes"]
    if mean["leaked_accuracy"] is None:
        yield f"No class has {MIN_DISTINCT} distinct scans both with and without a copy, which a comparison needs."
    else:
        yield (
            f"Within classes with at least {MIN_DISTINCT} distinct scans both with and without a copy in Training "
            f"({mean['classes']}), the mean accuracy is {_percent(mean['leaked_accuracy'])} on those with and "
            f"{_percent(mean['clean_accuracy'])} on those without."
        )


def _conflicts(run: Run) -> Iterable[str]:
    groups, files = run.data["label_conflicts"], len(run.split["conflicting"])
    dropped = run.split["dropped_as_conflicting"]["total"]
    if not groups:
        yield "No copies stand under different classes."
        return
    yield (
        f"{_count(groups, 'distinct scan')}, in {_count(files, 'file')}, {'stands' if groups == 1 else 'stand'} under "
        "more than one class, so that some of these labels must be wrong."
    )
    if run.settings["split"]["conflicts"] == "keep":
        yield "They were kept as they are (split.conflicts: keep)."
    elif run.split["protocol"] == "official":
        yield (
            f"{_count(dropped, 'file')} of them in Training {_were(dropped)} left out; a published test set is not "
            "changed on account of its labels (split.conflicts: drop)."
        )
    else:
        yield f"{_count(dropped, 'file')} {_were(dropped)} left out (split.conflicts: drop)."


def _headline(run: Run) -> Iterable[str]:
    test = run.test
    yield (
        f"The model recognises {_with_interval(run.record('accuracy'), 'accuracy')} of "
        f"{_count(test['scans'], 'test scan')}, each file counted."
    )
    each = test["per_distinct_scan"]
    if each["scans"]:
        yield (
            "With one vote for each distinct scan, by the mean probability of its copies, it recognises "
            f"{_with_interval(run.record('accuracy_per_distinct_scan'), 'accuracy')} of {each['scans']:,}."
        )
    if left_out := each["conflicting_groups_left_out"]:
        yield f"{_count(left_out, 'distinct scan')} under several classes {_are(left_out)} not counted there."
    counts = {row["class"]: run.distinct.get(row["class"], 0) for row in test["classes"]}
    few = [f"{name} ({count})" for name, count in counts.items() if count < MIN_DISTINCT]
    if few:
        yield (
            f"Fewer than {MIN_DISTINCT} distinct test scans stand behind the figures of {_listed(few)}: "
            "they say little on their own."
        )
    else:
        yield f"Every class has at least {MIN_DISTINCT} distinct test scans."


def _calibration(run: Run) -> Iterable[str]:
    scores = run.test["calibration"]
    yield (
        f"One temperature, {run.train['temperature']:.3g}, fitted on the validation scans, divides the scores of the "
        f"classes. It takes the calibration error (ECE) on the test scans from "
        f"{scores['before_temperature']['ece']:.3f} to {scores['after_temperature']['ece']:.3f}."
    )
    yield (
        f"A perfectly calibrated model would show {scores['ece_if_calibrated']:.3f} by chance alone, on as many scans."
    )


def _yardsticks(run: Run) -> Iterable[str]:
    reached = {BASELINES[row["baseline"]]: row["accuracy"] for row in run.baselines["baselines"]}
    (name, first), *others = reached.items()
    yield (
        f"On the same scans, {name} reaches an accuracy of {_percent(first)}, "
        f"{_listed([f'{name} {_percent(value)}' for name, value in others])}."
    )
    ahead = round(100 * (run.test["accuracy"] - max(reached.values())), 1)
    if ahead > 0:
        yield f"The model exceeds the best of these by {_count(ahead, 'percentage point')}."
    else:
        yield f"The model, with {_percent(run.test['accuracy'])}, does not exceed the best of these."
    yield (
        "What the border or the grey values alone reach is what a shortcut is worth, since they show hardly anything "
        "of what a class is about."
    )


def _orientation(run: Run) -> Iterable[str]:
    record = run.record("upside_down_missed_tumours")
    if record["value"] is None:
        yield f"Whether the model judges by the orientation of a scan is {NOT_DEFINED}: {record['reason']}."
        return
    yield (
        f"Of the test scans of other classes that are rightly not called {run.negative}, "
        f"{_with_interval(record, 'upside_down_missed_tumours')} are called {run.negative} once they are turned upside "
        "down. A scan shows the same either way up, so that a large share means that the model judges by orientation."
    )


def _limits(run: Run) -> Iterable[str]:
    if run.drawn:
        yield (
            "Scores on drawn scans show that the pipeline works. They say nothing of how well a model would do on "
            "scans of people."
        )
    else:
        probably = "slices of one patient are very probably on both sides of the split"
        if run.split["protocol"] == "blocked":
            probably = "slices of one patient may still be on both sides of the split, although blocks make that rarer"
        yield (
            f"The pipeline knows of no patient identifiers, and in the public collections none survive: {probably}, "
            "and the accuracy on new patients is very probably lower."
        )
        yield (
            "Labels are taken as they come. Classes are as frequent as in this collection and not as in a clinic, so "
            "that PPV and NPV would be others there."
        )
    yield "All test scans come from the same collection as the training scans. This model is not for clinical use."


def page(run: Run, figures: Mapping[str, str]) -> str:
    """One page of HTML with headline, statement, tables and figures; it loads nothing but the figures.

    Args:
        run: the run.
        figures: link to the picture, relative to the page, by name of figure.
    """
    record = run.record("accuracy")
    scans, distinct = run.test["scans"], run.test["per_distinct_scan"]["scans"]
    kind = "drawn scans" if run.drawn else "scans"
    return PAGE.substitute(
        accuracy=_percent(record["value"]),
        interval=_interval(record, "accuracy") or escape(f"no interval: {record['reason']}"),
        scans=f"{_count(scans, 'test file')}, {_count(distinct, 'distinct scan')}",
        protocol=escape(_protocol(run)),
        caution='<p class="caution">Inflated: the model was trained or chosen on copies of test scans.</p>'
        if run.trained_on_copies
        else "",
        kind=kind,
        statement="\n".join(
            f"<h3>{escape(heading)}</h3>\n<p>{escape(text)}</p>" for heading, text in statement(run).items()
        ),
        overall=_overall_table(run),
        classes=_class_table(run),
        baselines=_baseline_table(run),
        split=_split_table(run),
        settings=_table(["Setting", "Value"], [[_code(key), _code(value)] for key, value in _settings(run)]),
        figures="\n".join(
            f'<figure class="{name}"><img src="{escape(figures[name])}" alt="{escape(text)}">'
            f"<figcaption>{escape(text)}</figcaption></figure>"
            for name, text in FIGURES.items()
            if name in figures
        ),
    )


def _protocol(run: Run) -> str:
    if run.split["protocol"] == "official":
        return f"official test set, leaks: {run.settings['split']['leaks']}"
    return f"{run.split['protocol']} split" + (", an approximation" * (run.split["protocol"] == "blocked"))


def _overall_table(run: Run) -> str:
    names = {name: Template(text).substitute(negative=run.negative) for name, text in OVERALL.items()}
    if run.negative is None:
        names = {name: text for name, text in names.items() if "$" not in OVERALL[name]}
    rows = []
    for name, text in names.items():
        record = run.record(name)
        interval = _interval(record, name)
        if name == "ece":
            chance = f"{run.test['calibration']['ece_if_calibrated']:.3f} by chance if perfectly calibrated"
            rows.append([escape(text), _value(record["value"], name), _small(chance)])
        else:
            rows.append([escape(text), _value(record["value"], name), interval or _small(record["reason"] or "")])
    return _table(["Score", "Value", "95% interval"], rows)


def _class_table(run: Run) -> str:
    rows, reasons = [], {}
    for row in run.test["classes"]:
        cells = [escape(row["class"]), f"{row['scans']:,}", f"{run.distinct.get(row['class'], 0):,}"]
        for name in PER_CLASS:
            record = run.record(name, row["class"])
            if record["reason"]:
                reasons.setdefault(record["reason"], len(reasons) + 1)
            mark = f"<sup>{reasons[record['reason']]}</sup>" if record["reason"] else ""
            interval = _interval(record, name).replace(" to ", "–")
            cells.append(_value(record["value"], name) + mark + (f"<br>{_small(interval)}" if interval else ""))
        rows.append(cells)
    notes = "".join(f"<p class='note'><sup>{number}</sup> {escape(text)}</p>" for text, number in reasons.items())
    return _table(["Class", "Files", "Distinct", *PER_CLASS.values()], rows) + notes


def _baseline_table(run: Run) -> str:
    keys = ("balanced_accuracy", "macro_f1")
    records = [("this model", run.record("accuracy"), run.test)]
    for row in run.baselines["baselines"]:
        name = row["baseline"]
        records.append((BASELINES[name], row | {"value": row["accuracy"]}, run.baselines[name]))
    rows = [
        [escape(name), _value(record["value"], "accuracy"), _interval(record, "accuracy") or "–"]
        + [_value(scores[key], key) for key in keys]
        for name, record, scores in records
    ]
    return _table(["Judged by", "Accuracy", "95% interval", "Balanced accuracy", "Macro F1"], rows)


def _split_table(run: Run) -> str:
    columns = [key for key in SPLIT if run.split[key]["total"] or key in ("train", "val", "test")]
    names = [name for name in run.split["train"] if name != "total"]
    rows = [
        [escape(text), *(f"{run.split[key][name]:,}" for key in columns)]
        for name, text in [*((name, name) for name in names), ("total", "all")]
    ]
    return _table(["Class", *(SPLIT[key] for key in columns)], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; the first of each row heads it."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "\n".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    return f'<div class="wide"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _settings(run: Run) -> Iterable[tuple[str, object]]:
    """What decided the numbers: without devices, and without the settings of sources that were not taken."""
    for key, value in _flat(run.settings):
        other = key.count(".") > 1 and key.startswith("data.") and key.split(".")[1] != run.settings["data"]["source"]
        if not other and not key.endswith(".device"):
            yield key, value


def _flat(settings: Mapping, prefix: str = "") -> Iterable[tuple[str, object]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def _value(value: float | None, score: str) -> str:
    if value is None:
        return NOT_DEFINED
    return _percent(value) if score in PERCENTAGES else f"{value:.3f}"


def _interval(record: Mapping, score: str) -> str:
    """The interval as text; empty where there is none."""
    if record["low"] is None:
        return ""
    return f"{_value(record['low'], score)} to {_value(record['high'], score)}"


def _with_interval(record: Mapping, score: str) -> str:
    interval = _interval(record, score)
    return f"{_value(record['value'], score)} ({f'95% interval {interval}' if interval else record['reason']})"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _count(number: float, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _small(text: str) -> str:
    return f"<small>{escape(text)}</small>"


def _code(value: object) -> str:
    return f"<code>{escape(str(value))}</code>"


PAGE = Template("""<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TumorCLIP: report of a run</title>
<style>
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.2rem 4rem; background: #fff; color: #1a1a1a;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.35rem; margin: 0; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .8rem; padding-bottom: .3rem; border-bottom: 2px solid #0072b2; }
h3 { font-size: 1rem; margin: 1.1rem 0 .15rem; }
p { margin: 0 0 .6rem; max-width: 44rem; overflow-wrap: anywhere; }
.headline { margin: 1.2rem 0; padding: 1.1rem 1.3rem; background: #eef5fa; border-left: 5px solid #0072b2; }
.headline strong { display: block; font-size: 2.6rem; line-height: 1.15; }
.headline p { margin: .2rem 0 0; }
.caution { max-width: none; margin: 1rem 0; padding: .6rem 1rem; background: #fdf0e7; border-left: 5px solid #d55e00; }
.note, small, figcaption { color: #5c5c5c; font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .8rem; border-bottom: 1px solid #e3e3e3; text-align: right; vertical-align: top; }
th:first-child { padding-left: 0; min-width: 6.5rem; text-align: left; overflow-wrap: break-word; }
thead th { border-bottom: 1px solid #5c5c5c; vertical-align: bottom; }
tbody th { font-weight: normal; }
td { white-space: nowrap; }
.classes :is(th, td) { padding: .38rem .42rem; }
.classes th:first-child { padding-left: 0; }
sup { line-height: 0; }
.classes small { font-size: .75rem; }
.settings td, .overall :is(td, th):last-child { text-align: left; white-space: normal; }
.figures { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(min(24rem, 100%), 1fr)); }
figure { margin: 0; break-inside: avoid; }
figure.leaked_pairs { grid-column: 1 / -1; }
img { width: 100%; height: auto; }
@media print {
  html { font-size: 8.5pt; }
  body { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; }
  tr { break-inside: avoid; }
  .wide { overflow: visible; }
  .headline, .caution { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
</style>
</head>
<body>
<h1>TumorCLIP: report of a run</h1>
<div class="headline">
<strong>$accuracy</strong>
<p>accuracy on $kind held out for the test (95% interval $interval)</p>
<p>$scans; $protocol</p>
</div>
$caution
<p class="caution">For research. Not for clinical use.</p>
<h2>What these numbers rest on</h2>
$statement
<h2>Scores on the test scans</h2>
<div class="overall">$overall</div>
<h2>Scores of each class</h2>
<div class="classes">$classes</div>
<h2>Beside what needs no fine-tuning</h2>
$baselines
<h2>Figures</h2>
<div class="figures">
$figures
</div>
<h2>How the scans were divided</h2>
$split
<h2>Settings</h2>
<div class="settings">$settings</div>
</body>
</html>
""")
