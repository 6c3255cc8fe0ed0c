"""What CLAIM 2024 asks a study to report, and what of it a run knows.

CLAIM is the Checklist for Artificial Intelligence in Medical Imaging, in its update of 2024 (Tejani et al., Radiology:
Artificial Intelligence 6(4), e240300). The words here are this project's own. A filled row is not compliance.
"""

from typing import NamedTuple

from trueslice.report.run import Run, count, listed, percent, value, with_interval

UNAVAILABLE = "not available in this data set"
UNSAID = "for the authors of a study to say"
NOBODY = "nobody was scanned"
# Part and what is asked, from item 1 on.
ASKED = (
    ("Title", "the kind of method"),
    ("Title", "structured abstract"),
    ("Introduction", "background and intended use"),
    ("Introduction", "aims and hypotheses"),
    ("Study design", "prospective or retrospective"),
    ("Study design", "goal of the study"),
    ("Data", "sources"),
    ("Data", "who and what was included"),
    ("Data", "preprocessing"),
    ("Data", "selection of subsets"),
    ("Data", "how scans were made anonymous"),
    ("Data", "missing data"),
    ("Data", "scanners and protocols"),
    ("Reference standard", "what it is"),
    ("Reference standard", "why this one"),
    ("Reference standard", "who labelled, with what training"),
    ("Reference standard", "how the test set was labelled"),
    ("Reference standard", "agreement between readers"),
    ("Partitions", "how scans were assigned"),
    ("Partitions", "level at which parts are disjoint"),
    ("Test data", "planned sample size"),
    ("Model", "description"),
    ("Model", "software"),
    ("Model", "initial weights"),
    ("Training", "details"),
    ("Training", "how the final model was chosen"),
    ("Training", "ensembles"),
    ("Evaluation", "scores"),
    ("Evaluation", "uncertainty"),
    ("Evaluation", "robustness"),
    ("Evaluation", "explanations"),
    ("Evaluation", "internal testing"),
    ("Evaluation", "external testing"),
    ("Evaluation", "registration of a trial"),
    ("Results", "flow of scans and patients"),
    ("Results", "demographic and clinical characteristics"),
    ("Results", "performance on the test set"),
    ("Results", "diagnostic performance and its precision"),
    ("Results", "failures"),
    ("Discussion", "limits"),
    ("Discussion", "what follows for practice"),
    ("Other", "where the full protocol is"),
    ("Other", "availability of code, model and data"),
    ("Other", "funding and interests"),
)
BUILT_IN = ("tiny", "tiny_conv")
LITE = "lite"
OBJECTIVES = {
    "multi_positive": "multi-positive contrastive loss",
    "caption": "cross-entropy over captions",
    "in_batch": "contrastive loss within the batch",
    "sigmoid": "sigmoid loss",
}


class Item(NamedTuple):
    """A row of the checklist."""

    number: int
    part: str
    asked: str
    answer: str  # plain text; UNAVAILABLE or UNSAID where the run does not know
    known: bool  # whether the run knows it


def claim(run: Run) -> list[Item]:
    """The 44 items of CLAIM 2024 with what the run knows of each."""
    answers = _study(run) | _scans(run) | _parts(run) | _model(run) | _evaluation(run) | _results(run)
    items = []
    for number, (part, asked) in enumerate(ASKED, start=1):
        answer = answers.get(number, UNAVAILABLE)
        items.append(Item(number, part, asked, answer, answer not in (UNAVAILABLE, UNSAID)))
    return items


def _study(run: Run) -> dict[int, str]:
    outside = " and external" if run.external["sets"] else ""
    return dict.fromkeys((2, 4, 34, 41, 44), UNSAID) | {
        1: "deep learning: a dual encoder of images and text (CLIP), fine-tuned to classify brain MRI",
        3: "For research and teaching, not for clinical use. The background is for the authors to give.",
        5: f"neither: {NOBODY}, the scans are drawn" if run.drawn else "retrospective: a finished collection of files",
        6: f"development of a model, with internal{outside} testing",
        42: "dvc.yaml and params.yaml state every step; all settings stand in the report",
        43: "The code is under the MIT licence. Data and checkpoint: see the licence of their sources.",
    }


def _scans(run: Run) -> dict[int, str]:
    data, verify, split = run.data, run.settings["verify"], run.split
    side, colour = verify["image_size"], "three channels" if verify["colour"] else "grey"
    left_out = [f"{count(split[key], 'scan')} {why}" for key, why in _dropped(run) if split[key]]
    known = {
        7: source(run),
        8: f"Files that lie in a class folder and can be read; {data['unreadable_files']:,} could not. "
        + ("" if run.drawn else "How patients were chosen is not known."),
        9: f"padded to a square and resized to {side} × {side} pixels, {colour}, 8 bits",
        10: f"Left out of the split: {listed(left_out)}." if left_out else "none left out after reading",
        12: f"Unreadable files are left out: {data['unreadable_files']:,}. "
        + f"Of {count(data['scans_without_patient'], 'scan')} the patient is unknown.",
        14: "the class folder that a file lies in, taken as it comes",
    }
    if run.drawn:
        drawn = "the class that each scan was drawn as"
        known |= {14: drawn, 15: "it is exact", 16: "no reader: the program that drew them"}
        known |= {17: drawn} | dict.fromkeys((11, 13, 18, 36), NOBODY)
    return known


def _dropped(run: Run) -> list[tuple[str, str]]:
    """Keys of split.json that count what was left out, and why, in words."""
    return [
        ("dropped_as_conflicting", "whose copies stand under several classes"),
        ("dropped_as_leaked", "as copies of the other side"),
        ("dropped_at_random", "at random"),
        ("dropped_as_repeated", "as repetitions"),
    ]


def source(run: Run) -> str:
    """Where the scans are from, in words."""
    data = run.settings["data"]
    if run.drawn:
        return "phantoms drawn by this project"
    if data["source"] == "kaggle":
        version = data["kaggle"]["version"]
        return f"Kaggle, {data['kaggle']['dataset']}, version {'newest' if version is None else version}"
    # The folder's own name: where it lies on a machine is nobody's business.
    return f"files of {data['source'].rstrip('/').rsplit('/', 1)[-1]}"


def _parts(run: Run) -> dict[int, str]:
    split, unit = run.split, run.intervals["unit"]
    whole = sum(split[part] for part in ("train", "val", "test"))
    shares = [f"{name} {split[key]:,} ({percent(split[key] / whole)})" for key, name in _NAMES.items()]
    protocol = split["protocol"]
    official = f"the published test set (split.leaks: {run.settings['split']['leaks']})"
    how = official if protocol == "official" else f"a new division (split.protocol: {protocol})"
    return {
        19: f"{how}; {', '.join(shares)}",
        20: _level(run),
        21: f"No size was planned. The test set has {count(split['test'], 'scan')}; {unit['name']}: {unit['count']:,}.",
    }


_NAMES = {"train": "training", "val": "validation", "test": "test"}


def _level(run: Run) -> str:
    split = run.split
    level = "copies of a scan" if not run.exposed("copy") else "files"
    if split["protocol"] == "patients":
        return "Patients. " + _by_names(split["placed_by_names"])
    text = f"{level.capitalize()}, not patients."
    if both := split["patients_in_train_and_test"]:
        text += f" Known patients on both sides: {both:,}."
    return text


def _by_names(scans: int) -> str:
    if not scans:
        return "Every patient is known."
    return f"{count(scans, 'scan')} without a known patient went by blocks of file names, an approximation."


def _model(run: Run) -> dict[int, str]:
    train, model = run.settings["train"], run.model
    checkpoint, versions = run.checkpoint, model["versions"]
    extras = [
        f"a moving average of weights (decay {train['ema']})" if train["ema"] else "",
        f"a mixture of tuned and original weights (alpha {model['wise_ft_alpha']})" if train["wise_ft"] else "",
    ]
    return {
        22: f"{checkpoint}: an image and a text encoder. A scan gets the class whose captions lie "
        f"nearest; softmax over the classes, temperature {run.train['temperature']:.3g}.",
        23: ", ".join(f"{name} {number}" for name, number in versions.items()),
        24: _start(run),
        25: f"{OBJECTIVES[train['objective']]}, tuned: {train['tune']}; {count(len(run.train['epochs']), 'epoch')}, "
        f"batches of {train['batch_size']}, AdamW, highest learning rate {train['learning_rate']:g}; flips, turns, "
        "shifts and zooms of the scans",
        26: f"the epoch that validates best: {run.train['best_epoch']}",
        27: listed([extra for extra in extras if extra]) if any(extras) else "none",
    }


def _start(run: Run) -> str:
    drawn = f"random, drawn with seed {run.settings['seed']}"
    if run.checkpoint == LITE:
        return f"image tower: EfficientNet-Lite0, pretrained on ImageNet; text tower and projections: {drawn}"
    return drawn if run.checkpoint in BUILT_IN else f"pretrained: {run.checkpoint}"


def _evaluation(run: Run) -> dict[int, str]:
    unit, sets = run.intervals["unit"], run.external["sets"]
    asked = ["what was seen in training", "likeness to training scans"]
    asked += ["scans turned upside down"] if run.negative is not None else []
    asked += [f"{name} of the file" for name in run.settings["evaluate"]["by"]]
    return {
        28: "accuracy, balanced accuracy, F1, MCC, kappa, AUROC, average precision, NLL, Brier score, ECE; of each "
        "class also sensitivity, specificity, PPV and NPV",
        29: f"95 % intervals; the unit is the {unit['name']}. Where none is valid, the reason is given.",
        30: f"scored by {listed(asked)}; against baselines without fine-tuning",
        31: "none is shown" if run.explain is None else "measured against masks of the lesions; see the report",
        32: f"{count(run.test['scans'], 'test scan')} of the same collection",
        33: listed([f"{each['set']} ({count(each['kept'], 'scan')})" for each in sets]) if sets else "none",
    }


def _results(run: Run) -> dict[int, str]:
    data, split = run.data, run.split
    flow = f"{count(data['files'], 'file')}, {data['decoded']:,} readable, {data['distinct_scans']:,} distinct"
    patients = f"; {count(data['patients'], 'known patient')}" if data["patients"] else ""
    auroc = with_interval(run.record("macro_auroc"), "macro_auroc")
    return {
        35: f"{flow}{patients}; {split['train']:,} for training, {split['val']:,} for validation, "
        f"{split['test']:,} for the test",
        37: f"accuracy {with_interval(run.record('accuracy'), 'accuracy')}, macro AUROC {auroc}",
        38: _diagnostic(run),
        39: _failures(run),
        40: "stated in the report; foremost: "
        + ("drawn scans say nothing about scans of people" if run.drawn else "internal testing on one collection"),
    }


def _diagnostic(run: Run) -> str:
    tumour = run.test["tumour"]
    if tumour is None:
        return "of each class, in the report; no class is called healthy"
    found = [f"tumour against healthy: AUROC {with_interval(tumour, 'auroc', 'auroc')}"] if tumour["auroc"] else []
    for point in tumour["operating_points"][:1]:
        scores = [f"{name} {value(point[name], 'accuracy')}" for name in ("sensitivity", "specificity")]
        found.append(f"at the threshold set for {percent(point['target'])}: {', '.join(scores)}")
    return "; ".join(found) or "not defined"


def _failures(run: Run) -> str:
    """The most frequent mistake."""
    names = [row["class"] for row in run.test["classes"]]
    wrong = [
        (number, row["class"], names[column])
        for row in run.test["classes"]
        for column, number in enumerate(row["predicted_as"])
        if names[column] != row["class"]
    ]
    number, true, called = max(wrong, key=lambda mistake: mistake[0])
    if not number:
        return "no test scan is classified wrongly"
    return f"most often {true} called {called}: {count(number, 'scan')}; the report has all and the most confident ones"
