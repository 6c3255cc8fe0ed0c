"""What the numbers of a run rest on, in plain words, and how numbers are written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# The least for which a figure or the text gives a number of its own; evaluate compares from the same number on.
MIN_DISTINCT = 30
NOT_DEFINED = "not defined"
NO_COPY = "The audit knows of no test scan with a copy among the scans that the model was trained or chosen on."
PERCENTAGES = (
    "accuracy", "accuracy_per_distinct_scan", "balanced_accuracy", "balanced_accuracy_per_distinct_scan",
    "recall", "specificity", "precision", "npv", "missed_tumours", "false_alarms", "upside_down_missed_tumours",
)  # fmt: skip
BASELINES = {
    "nearest_neighbour": "nearest training scan by its pixels",
    "border_strips": "border of the scan alone",
    "grey_histogram": "histogram of grey values alone",
    "zero_shot": "checkpoint before fine-tuning (zero-shot)",
}


@dataclass(frozen=True)
class Run:
    """What a run measured, and the settings that explain it.

    Attributes:
        data, split, train, test, intervals, baselines: the content of the file of that name in metrics/.
        settings: the sections of params.yaml by name.
    """

    data: Mapping
    split: Mapping
    train: Mapping
    test: Mapping
    intervals: Mapping
    baselines: Mapping
    settings: Mapping[str, Mapping]

    @property
    def drawn(self) -> bool:
        """Whether the scans are phantoms and not of people."""
        return self.settings["data"]["source"] == "phantom"

    @property
    def inflated(self) -> bool:
        """Whether the model was trained or chosen on copies of test scans."""
        return bool(self.test["leaked_against_clean"])

    @property
    def negative(self) -> str | None:
        """The healthy class; None where there is none."""
        return self.settings["evaluate"]["negative_class"]

    def record(self, score: str, class_name: str | None = None) -> Mapping:
        """The value and interval of a score; without a value where it was not measured."""
        for row in self.intervals["intervals"]:
            if (row["score"], row["class"]) == (score, class_name):
                return row
        return {"value": None, "low": None, "high": None, "method": None, "reason": "it was not measured"}


def statement(run: Run) -> dict[str, str]:
    """What the numbers of a run rest on and what they do not say: paragraphs by heading, as plain text."""
    parts = {
        "What the scans are": _scans(run),
        "Copies between training and test": _copies(run),
        "Copies with different labels": _conflicts(run),
        "What the accuracy is": _accuracy(run),
        "What the intervals cover": _intervals(run),
        "Whether the probabilities can be believed": _calibration(run),
        "What needs no fine-tuning": _baselines(run),
        "Which way up": _orientation(run),
        "Limits": _limits(run),
    }
    return {heading: " ".join(sentences) for heading, sentences in parts.items()}


def _scans(run: Run) -> Iterable[str]:
    data, threshold = run.data, run.settings["verify"]["copy_threshold"]
    if run.drawn:
        yield "The scans are phantoms, which this project draws. Nobody was scanned."
    if data["unreadable_files"]:
        yield f"Left out as unreadable: {count(data['unreadable_files'], 'file')}."
    files, distinct = data["decoded"], data["distinct_scans"]
    if distinct == files:
        yield f"The audit found no copies among {count(files, 'file')}."
    else:
        yield f"{count(files, 'file')} show {count(distinct, 'distinct scan')}."
        yield f"The audit found copies of {data['copy_groups']:,} of these scans."
        yield f"The most frequent scan stands in {count(data['largest_copy_group'], 'file')}."
    yield f"Two files count as copies if their pixels correlate at {threshold:g} or more."
    yield "The audit also tries them mirrored, turned and aligned. It misses copies that were altered further."


def _copies(run: Run) -> Iterable[str]:
    published, leaked, policy = run.data["test_scans"], run.data["leaked_test_scans"], run.settings["split"]
    if published:
        yield f"Published test scans with a copy in the published Training folder: {leaked:,} of {published:,}."
    else:
        yield "The scans come without a published test set."
    if run.split["protocol"] == "official":
        yield from _official(run)
        if policy["folds"]:
            yield f"Fold {policy['fold']} of {policy['folds']} of the training scans was the validation set."
    else:
        yield "This run divides all scans anew" + (" and ignores the published division." if published else ".")
        yield from _divided_anew(run)
        if policy["folds"]:
            yield f"Fold {policy['fold']} of {policy['folds']} was the test set."
    yield from _inflation(run)
    if policy["copies"] == "one":
        repeated = run.split["dropped_as_repeated"]
        yield f"Training kept one file of each distinct scan and left out {count(repeated, 'repetition')}."


def _official(run: Run) -> Iterable[str]:
    leaks, split = run.settings["split"]["leaks"], run.split
    dropped, setting = split["dropped_as_leaked"], f"(split.leaks: {leaks})"
    if leaks == "drop_train":
        yield "The test set stays whole."
        yield f"The split dropped {count(dropped, 'training scan')} for having a copy in the test set {setting}."
    elif leaks == "drop_test":
        yield f"The split dropped {count(dropped, 'test scan')} for having a copy in Training {setting}."
        if dropped:
            yield f"It left {count(split['test'], 'test scan')}. This is not the published test set."
            yield "Do not compare its accuracy with published ones."
    elif leaks == "keep":
        yield f"Nothing was done about copies {setting}."
    else:
        yield f"Copies were left where they are {setting}."
        yield f"The split dropped {count(split['dropped_at_random'], 'training scan')} at random."
        yield "Those are as many of each class as drop_train would drop."
        yield "The difference to a run under drop_train shows roughly what copies add to the accuracy."
        yield "It is rough because the two train on equally many files, but not on equally many distinct scans."


def _divided_anew(run: Run) -> Iterable[str]:
    if run.split["protocol"] == "grouped":
        yield "Copies always stand on the same side (split.protocol: grouped)."
        return
    yield f"Each class is cut into {run.settings['split']['blocks']} blocks of consecutive file names."
    yield "Each block stands on one side (split.protocol: blocked)."
    yield "A group of copies stands where its first file stands."
    if not run.drawn:
        yield "File names keep the order of their source, so a block stands in for patients. This is an approximation."


def _inflation(run: Run) -> Iterable[str]:
    if not run.inflated:
        yield NO_COPY
        return
    yield "The model was trained or chosen on copies of test scans. Its scores on the test set are inflated."
    compared = [row for row in run.test["leaked_against_clean"] if row["leaked_accuracy"] is not None]
    classes = [row["class"] for row in compared if row["class"] is not None]
    least = f"at least {MIN_DISTINCT} distinct scans with a copy in Training and as many without"
    if not classes:
        yield f"No class has {least}, which a comparison needs."
        return
    yield f"Classes with {least}: {listed(classes)}."
    mean = next((row for row in compared if row["class"] is None), compared[0])
    with_copy, without = percent(mean["leaked_accuracy"]), percent(mean["clean_accuracy"])
    yield f"There, the mean sensitivity is {with_copy} on scans with a copy and {without} on scans without."


def _conflicts(run: Run) -> Iterable[str]:
    groups, files = run.data["label_conflicts"], len(run.split["conflicting"])
    dropped = run.split["dropped_as_conflicting"]
    if not groups:
        yield "No copies stand under different classes."
        return
    yield f"Distinct scans under more than one class: {groups:,}, in {count(files, 'file')}."
    yield "Some of these labels must be wrong."
    if run.settings["split"]["conflicts"] == "keep":
        yield "They were kept as they are (split.conflicts: keep)."
    else:
        yield f"The split left out {count(dropped, 'file')} (split.conflicts: drop)."
        if run.split["protocol"] == "official":
            yield "It changes nothing in a published test set."


def _accuracy(run: Run) -> Iterable[str]:
    test, each = run.test, run.test["per_distinct_scan"]
    scans = count(test["scans"], "test scan")
    yield f"The model is right on {with_interval(run.record('accuracy'), 'accuracy')} of {scans}, each file counted."
    if each["scans"]:
        distinct = with_interval(run.record("accuracy_per_distinct_scan"), "accuracy")
        yield "A distinct scan may count once, by the mean probability of its copies."
        yield f"Then the model is right on {distinct} of {each['scans']:,}."
        if left_out := each["conflicting_groups_left_out"]:
            yield f"That leaves out {count(left_out, 'distinct scan')} with several labels."
    few = [f"{row['class']} ({row['distinct']:,})" for row in test["classes"] if row["distinct"] < MIN_DISTINCT]
    if few:
        yield f"Classes with fewer than {MIN_DISTINCT} distinct test scans: {listed(few)}."
        yield "Scores of so few scans say little on their own."
    else:
        yield f"Every class has at least {MIN_DISTINCT} distinct test scans."


def _intervals(run: Run) -> Iterable[str]:
    yield "A 95 % interval says how far a score may move with other test scans of the same kind."
    yield "It treats a group of copies as one scan, since a copy adds no evidence."
    yield "It does not cover another training seed, another hospital, another scanner or another file format."
    if not run.drawn:
        yield "It also takes slices of one patient for independent scans. For new patients it is too narrow."
    yield "Near 1, the intervals of F1, AUROC and average precision are somewhat too narrow."


def _calibration(run: Run) -> Iterable[str]:
    scores = run.test["calibration"]
    before, after = f"{scores['nll_before']:.3f}", f"{scores['nll']:.3f}"
    yield f"The logits are divided by one temperature, {run.train['temperature']:.3g}, fitted on the validation scans."
    yield "The negative log-likelihood judges it: lower is better."
    if float(after) < float(before):
        yield f"On the test scans it got better, from {before} to {after}."
    elif float(after) > float(before):
        yield f"On the test scans it got worse, from {before} to {after}: the temperature did not help."
    else:
        yield f"On the test scans it stayed at {after}: the temperature did not help."
    yield f"The expected calibration error (ECE) went from {scores['ece_before']:.3f} to {scores['ece']:.3f}."
    yield f"A perfectly calibrated model would show {scores['ece_if_calibrated']:.3f} by chance on as many scans."


def _baselines(run: Run) -> Iterable[str]:
    best = max(run.baselines["baselines"], key=lambda row: row["accuracy"])
    yield f"The best of the baselines in the table below is the {BASELINES[best['baseline']]}."
    yield f"It reaches an accuracy of {with_interval(best | {'value': best['accuracy']}, 'accuracy')}."
    yield f"The model reaches {with_interval(run.record('accuracy'), 'accuracy')}."
    if run.test["accuracy"] <= best["accuracy"]:
        yield "The model does not exceed it."
    yield "Both judge the same scans, so only a paired comparison tells whether they differ."
    yield "Border and grey values show hardly any of a tumour. What they reach is what a shortcut is worth."
    yield "The border is an eighth of the width on each side, which is 43.75 % of the picture."


def _orientation(run: Run) -> Iterable[str]:
    record = run.record("upside_down_missed_tumours")
    if record["value"] is None:
        yield f"Whether the model judges by the orientation of a scan is {NOT_DEFINED}: {record['reason']}."
        return
    yield f"Of the test scans of classes other than {run.negative}, take those that are not called {run.negative}."
    share = with_interval(record, "upside_down_missed_tumours")
    yield f"Turned upside down, {share} of them are called {run.negative}."
    yield "A scan shows the same either way up. A large share means that the model judges by orientation."


def _limits(run: Run) -> Iterable[str]:
    if run.drawn:
        yield "Scores on drawn scans show that the pipeline works. They say nothing about scans of people."
    else:
        yield "The pipeline knows of no patient identifiers, and none survive in the public collections."
        if run.split["protocol"] == "blocked":
            yield "Blocks make it rarer that slices of one patient are on both sides of the split; some may still be."
        else:
            yield "Slices of one patient are very probably on both sides of the split."
        yield "The accuracy on new patients is very probably lower."
        yield "Labels are taken as they come."
        yield "Classes are not as frequent here as in a clinic, where PPV and NPV would differ."
    yield "All test scans come from the same collection as the training scans. This model is not for clinical use."


def value(number: float | None, score: str) -> str:
    """The value of `score` as text: a percentage for a share, else three decimals."""
    if number is None:
        return NOT_DEFINED
    return percent(number) if score in PERCENTAGES else f"{number:.3f}"


def interval(record: Mapping, score: str) -> str:
    """The interval of a record as text; empty where there is none."""
    if record["low"] is None:
        return ""
    return f"{value(record['low'], score)} to {value(record['high'], score)}"


def with_interval(record: Mapping, score: str) -> str:
    """The value of a record with its interval, or with the reason why there is none."""
    limits = interval(record, score)
    return f"{value(record['value'], score)} ({f'95 % interval {limits}' if limits else record['reason']})"


def percent(share: float) -> str:
    """A share from 0 to 1 as a percentage."""
    return f"{100 * share:.1f} %"


def count(number: int, noun: str) -> str:
    """A number with what is counted, in the singular where it is one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """Words with commas between them and "and" before the last."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
