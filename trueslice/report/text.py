"""What the numbers of a run rest on, in plain words."""

from collections.abc import Iterable, Mapping

from trueslice.report.run import (
    BASELINES,
    EXPOSURES,
    MIN_DISTINCT,
    NARROW,
    NOT_DEFINED,
    Run,
    count,
    limits,
    listed,
    percent,
    points,
    signed,
    with_interval,
)

# A larger calibration slope would spread probabilities that hardly differ: an untrained model has one of hundreds.
MOST_SLOPE = 10
NO_COPY = "The audit knows of no test scan with a copy among the scans that the model was trained or chosen on."
# Headings under which the page also has a table or a figure.
PATIENTS = "Whose scans they are"
COPIES = "Copies between training and test"
CALIBRATION = "Whether the probabilities can be believed"
RISK = "Leaving out what the model is unsure of"
SEEN = "What the model had seen of the test scans"
BY = "Accuracy by kind of scan"
TUMOURS = "Tumour against healthy"
EXPLAINED = "Where the answers come from"
UNTUNED = "What needs no fine-tuning"
EXTERNAL = "Other data sets"


def statement(run: Run) -> dict[str, str]:
    """What the numbers of a run rest on and what they do not say: paragraphs by heading, as plain text."""
    parts = {
        "What the scans are": _scans(run),
        PATIENTS: _patients(run),
        COPIES: _copies(run),
        SEEN: _seen(run),
        "Labels that contradict each other": _conflicts(run),
        "What the accuracy is": _accuracy(run),
        "What the intervals cover": _intervals(run),
        BY: _by(run),
        TUMOURS: _tumours(run),
        CALIBRATION: _calibration(run),
        RISK: _risk(run),
        EXPLAINED: _explained(run),
        UNTUNED: _baselines(run),
        EXTERNAL: _external(run),
        "Which way up": _orientation(run),
        "Limits": _limits(run),
    }
    written = {heading: " ".join(sentences) for heading, sentences in parts.items()}
    return {heading: text for heading, text in written.items() if text}


def _explained(run: Run) -> Iterable[str]:
    if run.explain is None:
        return
    if not run.explain["scans"]:
        yield "No masks of the tumours are known, so explanations are neither measured nor shown."
        return
    rows = {row["of"]: row for row in run.explain["rows"] if (row["by"], row["score"]) == ("all", "pointing")}
    explanation, point, least = (
        with_interval(rows[name] | {"reason": "no interval"}, "accuracy")
        for name in ("explanation", "fixed_point", "uniform")
    )
    yield f"The tumour is outlined in {count(run.explain['scans'], 'test scan')}."
    yield f"The place that matters most to the model lies in it in {explanation} of them."
    yield f"For the best fixed point of each class that is {point}, and for any point of the head {least}."
    if not run.explain["shown"]:
        yield "So the explanations do not beat a fixed point, and none is shown."


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


def _patients(run: Run) -> Iterable[str]:
    data, split = run.data, run.split
    if not data["patients"]:
        yield "No patient of any scan is known (verify.patients)."
        return
    known = data["decoded"] - data["scans_without_patient"]
    yield f"{count(data['patients'], 'patient')} are known, in {known:,} of {count(data['decoded'], 'file')}."
    if run.drawn:
        yield "A patient is a drawn head, which several slices show."
        yield "Heads stand in both folders on purpose, as patients do in the public collections."
    if data["test_scans"]:
        yield f"Patients in both published folders: {data['patients_in_both_folders']:,}."
        shown, whole = data["test_scans_of_train_patients"], data["test_scans"]
        yield f"Published test scans of patients who are in Training too: {shown:,} of {whole:,}."
        yield f"An audit of copies passes {data['patient_leaked_test_scans']:,} of them, which have no copy there."
    if split["protocol"] == "official":
        yield from _patients_stay(run)
    elif split["protocol"] == "patients":
        yield "No patient and no copy stands on two sides (split.protocol: patients)."
        if split["placed_by_names"]:
            yield f"{count(split['placed_by_names'], 'scan')} without a known patient went by blocks of file names."
    elif split["patients_in_train_and_test"]:
        yield f"Patients on both sides of this split: {split['patients_in_train_and_test']:,}."
        yield "Under split.protocol: patients there are none."


def _patients_stay(run: Run) -> Iterable[str]:
    """Why the patients of a published test set stay in Training."""
    if not run.data["patients_in_both_folders"]:
        return
    left = [
        f"{row['train_of_other_patients']:,} of {row['class']}"
        for row in run.data["classes"]
        if row["patients_in_both"]
    ]
    yield "These patients stay in Training: no setting removes those of a published test set from it."
    yield f"Without them, Training would keep these numbers of files with a known patient: {listed(left)}."
    yield "For scores on new patients, divide anew (split.protocol: patients)."
    yield "The difference between both runs shows what it is worth to have seen the patients."


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
    elif run.split["protocol"] == "patients":
        yield "Copies and patients always stand on the same side (split.protocol: patients)."
    else:
        yield f"Each class is cut into {run.settings['split']['blocks']} blocks of consecutive file names."
        yield "Each block stands on one side (split.protocol: blocked)."
        yield "A group of copies stands where its first file stands."
        if not run.drawn:
            yield "File names keep the order of their source, so a block stands in for patients."
            yield "This is an approximation."


def _seen(run: Run) -> Iterable[str]:
    copies, patients = run.exposed("copy"), run.exposed("patient")
    yield "Seen is a scan that the model was trained or chosen on."
    counts = [f"{row['scans']:,} ({EXPOSURES[row['exposure']]})" for row in run.exposures]
    yield f"The {count(run.test['scans'], 'test scan')} by that: {listed(counts)}."
    if copies:
        yield "The model was trained or chosen on copies of test scans. Its scores on the test set are inflated."
    else:
        yield NO_COPY
    if patients:
        yield "Scores on scans of patients who were seen do not say how well the model does on new patients."
    right = [
        f"{percent(row['accuracy'])} where {EXPOSURES[row['exposure']]}"
        for row in run.exposures
        if row["accuracy"] is not None
    ]
    if len(right) > 1:
        yield f"The model is right on {listed(right)}."
        yield "Classes differ in how much of them was seen, so compare within a class."
        yield f"A class with fewer than {MIN_DISTINCT} distinct scans of a kind has no number."
    yield from _remembered(run)


def _remembered(run: Run) -> Iterable[str]:
    """What the nearest neighbour, which remembers every training scan, gains from what was seen."""
    nearest = next(row for row in run.baselines["baselines"] if row["baseline"] == "nearest_neighbour")
    known = {kind: nearest[f"accuracy_{kind}"] for kind in ("copy", "patient", "neither")}
    right = [f"{percent(share)} where {EXPOSURES[kind]}" for kind, share in known.items() if share is not None]
    if len(right) > 1:
        yield f"The nearest training scan, which shows what remembering is worth, is right on {listed(right)}."


def _conflicts(run: Run) -> Iterable[str]:
    groups, contradicted = run.data["label_conflicts"], run.data["source_conflicts"]
    dropped = run.split["dropped_as_conflicting"]
    if not groups and not contradicted:
        yield "No copies stand under different classes, and no known source gives another class."
        return
    if groups:
        yield f"Distinct scans under more than one class: {groups:,}."
    if contradicted:
        yield f"Files under another class than in the source that they were taken from: {contradicted:,}."
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
        yield "Copies of a scan may also share the weight of one."
        yield f"Then the model is right on {distinct} of {count(each['scans'], 'distinct scan')}."
        if left_out := each["conflicting_groups_left_out"]:
            yield f"That leaves out {count(left_out, 'distinct scan')} with several labels."
    few = [f"{row['class']} ({row['distinct']:,})" for row in test["classes"] if row["distinct"] < MIN_DISTINCT]
    if few:
        yield f"Classes with fewer than {MIN_DISTINCT} distinct test scans: {listed(few)}."
        yield "Scores of so few scans say little on their own."
    else:
        yield f"Every class has at least {MIN_DISTINCT} distinct test scans."


def _intervals(run: Run) -> Iterable[str]:
    unit, runs = run.intervals["unit"], run.test["name_runs"]
    yield "A 95 % interval says how far a score may move with other test scans of the same kind."
    yield f"Its unit is the {unit['name']}: {unit['count']:,} in the test set."
    yield "Scans of one unit count as one piece of evidence."
    if unit["scans_without_patient"] and not run.drawn:
        whose = f"{count(unit['scans_without_patient'], 'test scan')} without a known patient"
        yield f"Among {whose}, slices of one patient are taken for independent scans."
        yield "So the intervals are too narrow for new patients."
    if runs and runs["times_as_wide"] is not None:
        yield "Files with neighbouring names are often slices of one patient."
        yield (
            f"With runs of {runs['length']} neighbouring names as units, the interval of the accuracy is "
            f"{percent(runs['low'])} to {percent(runs['high'])}, {runs['times_as_wide']:.1f} times as wide."
        )
    yield "No interval covers another training seed, another hospital, another scanner or another file format."
    if run.narrow:
        yield f"Intervals with the mark {NARROW} are too narrow; a note under their table says by how much."


def _by(run: Run) -> Iterable[str]:
    if run.test["by"]:
        yield f"The test scans by {listed(run.settings['evaluate']['by'])}, as data/scans/scans.csv has it."
        yield "A model that judges by where a scan comes from does well on one kind and badly on another."


def _tumours(run: Run) -> Iterable[str]:
    tumour, negative = run.test["tumour"], run.negative
    if tumour is None:
        yield f"Sensitivity and specificity for tumours are {NOT_DEFINED}: evaluate.negative_class is null."
        return
    yield f"A tumour is any class but {negative}; its score is the sum of their probabilities."
    if tumour["auroc"] is not None:
        yield f"The AUROC is {with_interval(tumour, 'auroc', 'auroc')}."
    yield "Each threshold was chosen on the validation scans, for the sensitivity that the table names."
    yield "The sensitivity on the test scans may differ from it."
    yield "PPV and NPV depend on how frequent tumours are, so they come for stated shares (evaluate.prevalences)."


def _calibration(run: Run) -> Iterable[str]:
    scores = run.test["calibration"]
    yield f"The logits are divided by one temperature, {run.train['temperature']:.3g}, fitted on the validation scans."
    yield "The negative log-likelihood (NLL) judges it: lower is better."
    change = f"On the test scans it went from {scores['nll_before']:.3f} to {scores['nll']:.3f}"
    if scores["nll_change_low"] is not None:
        low, high = scores["nll_change_low"], scores["nll_change_high"]
        change += f", a change of {signed(scores['nll_change'])} (95 % interval {signed(low)} to {signed(high)})"
    yield f"{change}: the temperature {scores['verdict']}."
    yield f"The expected calibration error (ECE) went from {scores['ece_before']:.3f} to {scores['ece']:.3f}."
    yield (
        f"A perfectly calibrated model would show {scores['ece_if_calibrated']:.3f} on average by chance, "
        f"and up to {scores['ece_p95_if_calibrated']:.3f} in 95 of 100 cases (p = {scores['ece_p_value']:.3f})."
    )
    if scores["slope"] is not None:
        yield from _recalibration(scores)


def _recalibration(scores: Mapping) -> Iterable[str]:
    """Slope and intercept of tumour against healthy; the slope only where it says something."""
    slope, intercept = (with_interval(limits(scores, name), name) for name in ("slope", "intercept"))
    if scores["slope"] > MOST_SLOPE or (scores["slope_low"] or 0) < 0:
        yield "The calibration slope for tumour against healthy is not meaningful:"
        yield f"the probabilities hardly tell the two apart. The intercept is {intercept}; it is 0 if they are right."
    else:
        yield f"For tumour against healthy, the calibration slope is {slope} and the intercept {intercept}."
        yield "They are 1 and 0 if the probabilities are right. A slope below 1 means that the model is too sure."
    yield "An intercept above 0 means that it expects too few tumours."


def _risk(run: Run) -> Iterable[str]:
    curve = run.test["risk_coverage"]
    yield "The model may answer only where it is most confident. The less it answers, the less it should err."
    half = min(curve["rows"], key=lambda row: abs(row["coverage"] - 0.5))
    yield f"On the {percent(half['coverage'])} that it is most confident of, it errs on {percent(half['risk'])}."
    area = with_interval(curve, "area", "area")
    yield f"The mean error rate over all shares, the area under the curve, is {area}."


def _baselines(run: Run) -> Iterable[str]:
    best = max(run.baselines["baselines"], key=lambda row: row["accuracy"])
    yield f"The best of the baselines in the table below is the {BASELINES[best['baseline']]}."
    yield f"It reaches an accuracy of {with_interval(best, 'accuracy', 'accuracy')}."
    difference, low, high = (best[key] for key in ("difference", "difference_low", "difference_high"))
    if low is None:
        yield f"The model differs from it by {points(difference)} points. No interval: {best['difference_reason']}."
    else:
        verdict = "exceeds it" if low > 0 else "falls behind it" if high < 0 else "is not shown to differ from it"
        yield f"The model {verdict}: {points(difference)} points (95 % interval {points(low)} to {points(high)})."
        yield "The interval is that of the paired difference, since both judge the same scans."
    yield "Border and grey values show hardly any of a tumour. What they reach is what a shortcut is worth."
    yield "The linear probe is a logistic regression on image features of the checkpoint, which stays as it was."
    yield "The border is an eighth of the width on each side, which is 43.75 % of the picture."


def _external(run: Run) -> Iterable[str]:
    if not run.external["sets"]:
        yield "The model was tested on no other data set (external)."
        return
    yield "The finished model, with its temperature and thresholds, was tested on other data sets."
    yield "Scans that are copies of those it was developed on, or of each other, were left out."
    for each in run.external["sets"]:
        left_out = each["dropped_as_development"]
        yield f"Of {count(each['files'], 'file')} in {each['set']}, {left_out:,} were copies of development scans."
        right = with_interval(each, "accuracy", "accuracy")
        yield f"On {count(each['kept'], 'scan')} that were kept, the accuracy is {right}."
    inside = percent(run.test["accuracy"])
    yield f"On the internal test set it is {inside}. The classes are not mixed alike, so compare each class too."
    yield "The intervals there know of no patients. Where one has several scans, they are too narrow."
    if any(each["source"] == "phantom" for each in run.settings["external"]):
        yield "Phantoms of another scanner have other contrast, noise and field of view."
        yield "A loss there shows what the model learned of its scanner rather than of tumours."


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
    unknown = run.data["scans_without_patient"]
    if run.drawn:
        yield "Scores on drawn scans show that the pipeline works. They say nothing about scans of people."
    elif unknown:
        yield f"No patient is known of {unknown:,} of {count(run.data['decoded'], 'file')}."
        if run.split["protocol"] in ("blocked", "patients"):
            yield "Blocks make it rarer that slices of one patient are on both sides of the split; some may still be."
        else:
            yield "Slices of one patient are very probably on both sides of the split."
            yield "The accuracy on new patients is very probably lower."
    if not run.drawn:
        yield "The reference standard is the class folder that a file lies in, taken as it comes."
        yield "Classes are not as frequent here as in a clinic, where PPV and NPV would differ."
    yield "Test and training scans come from the same collection: this is internal testing."
    yield "This model is not for clinical use."
