"""The model card: what a released model is, what it was trained on, and what its scores rest on.

As Mitchell et al. 2019, "Model Cards for Model Reporting". Its head, in YAML, is what the Hugging Face hub reads.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from trueslice.copies.thumbnails import FINE
from trueslice.report.claim import BUILT_IN, LITE, claim
from trueslice.report.run import (
    BASELINES,
    EXPOSURES,
    Run,
    count,
    interval,
    listed,
    percent,
    points,
    value,
    with_interval,
)
from trueslice.report.text import EXTERNAL, PATIENTS, SEEN, statement

TEMPLATE = Path(__file__).parent / "card.md"
TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "macro_auroc": "macro AUROC",
}
# The scores that the hub lists, as it calls them, each with its arguments.
METRICS = {"accuracy": ("accuracy", None), "macro_f1": ("f1", {"average": "macro"})}
# Keys of split.json that count the scans of each part, and what the parts are for.
PARTS = {"train": "for training", "val": "for validation", "test": "for the test"}
# What stands in metrics/explain.json, and what it is called here.
SCORES = ("pointing", "energy")
HEAT_MAPS = {
    "explanation": "heat map",
    "uniform": "no map: anywhere in the head",
    "other_patient": "heat map on the tumour of another patient of the class",
    "fixed_point": "best fixed point of the class",
    "random_weights": "heat map of shuffled weights",
    "ceiling": "the best that the model's grid allows",
}
OPENAI = "openai/clip-"


def card(run: Run, released: Mapping) -> str:
    """The model card of a run, as Markdown with a head in YAML. The same run gives the same text.

    Args:
        run: what was measured.
        released: the content of trueslice.json in the folder of the released model.
    """
    from huggingface_hub import ModelCard

    rates = released["unlike"]["rates"]
    said = {heading: escaped(text) for heading, text in statement(run).items()}
    content = {
        "said": said,
        "seen": [said[heading] for heading in (PATIENTS, "Copies between training and test", SEEN)],
        "external": said[EXTERNAL],
        "explanations": _explanations(run),
        "pointing": list(_pointing(run)),
        "scores": list(_scores(run)),
        "baselines": list(_baselines(run)),
        "confidence": list(_confidence(released["confidence"])),
        "unlike": [(row["pictures"], f"{row['count']:,}", percent(row["warned"])) for row in rates],
        "claim": [(item.number, item.asked, escaped(item.answer)) for item in claim(run)],
    }
    template = str(TEMPLATE)
    return str(ModelCard.from_template(_head(run), template, **_headline(run), **_origin(run, released), **content))


def escaped(text: str) -> str:
    """Text in which Markdown finds no markup."""
    return re.sub(r"([\\`*_{}\[\]<>|$~])", r"\\\1", text)


def _head(run: Run):
    """What the hub reads."""
    from huggingface_hub import ModelCardData

    checkpoint, name = run.model["checkpoint"], run.model["checkpoint"]["name"]
    results = list(_results(run))
    return ModelCardData(
        language="en",
        # Of weights that were trained on scans of people, the licence is for those to state who hand them over.
        license="mit" if run.drawn and (name in BUILT_IN or name.startswith(OPENAI)) else "unknown",
        library_name="transformers",
        pipeline_tag="zero-shot-image-classification",
        tags=["clip", "brain-mri", "image-classification", "trueslice"],
        base_model=name if checkpoint["revision"] else None,
        metrics=["accuracy", "f1"],
        model_name="TrueSlice" if results else None,
        eval_results=results or None,
    )


def _results(run: Run) -> Iterable:
    """The scores that the hub lists, each with its interval in its name."""
    from huggingface_hub import EvalResult

    for score, (kind, arguments) in METRICS.items():
        record = run.record(score)
        if record["value"] is not None:
            covered = interval(record, score)
            over = f"95 % interval {covered}; unit: {run.intervals['unit']['name']}" if covered else record["reason"]
            yield EvalResult(
                task_type="image-classification",
                dataset_type="imagefolder",
                dataset_name=_data_set(run),
                dataset_config=run.split["protocol"],
                dataset_split="test",
                metric_type=kind,
                metric_value=round(record["value"], 4),
                metric_name=f"{TITLES[score]} ({over})",
                metric_args=arguments,
            )


def _data_set(run: Run) -> str:
    if run.drawn:
        return "phantoms that TrueSlice draws"
    return "Kaggle's brain-tumor-mri-dataset" if _is_kaggle(run) else "brain MRI scans of a folder"


def _is_kaggle(run: Run) -> bool:
    """Whether the scans are Kaggle's: downloaded from there, or a folder of files whose patients are known there."""
    known = run.settings["verify"]["patients"] == "auto" and run.data["patients"] > 0
    return not run.drawn and (known or run.settings["data"]["source"] == "kaggle")


def _headline(run: Run) -> dict[str, str]:
    """What nobody should miss: the accuracy, what had been seen of the test scans, and what a shortcut reaches."""
    scans = count(run.test["scans"], "test scan")
    best = max(run.baselines["baselines"], key=lambda row: row["accuracy"])
    seen = [f"{row['scans']:,} ({EXPOSURES[row['exposure']]})" for row in run.exposures]
    reached = f"{BASELINES[best['baseline']]} is right on {percent(best['accuracy'])}"
    return {
        "accuracy": f"It is right on {with_interval(run.record('accuracy'), 'accuracy')} of {scans}.",
        "seen_before": f"By what it had seen of them in training, these are {listed(seen)}.",
        "baseline": f"Without any fine-tuning, the {reached} of them.",
    }


def _origin(run: Run, released: Mapping) -> dict:
    """What the model was made of, and of which classes it is."""
    name = run.model["checkpoint"]["name"]
    captions = released["classes"]
    return {
        "drawn": run.drawn,
        "kaggle": _is_kaggle(run),
        "openai": name.startswith(OPENAI),
        "built_in": name in BUILT_IN,
        "lite": name == LITE,
        "checkpoint": escaped(run.checkpoint),
        "classes": listed([escaped(each) for each in captions]),
        "captions": [(escaped(each), escaped("; ".join(texts))) for each, texts in captions.items()],
        "known": listed([f"{run.split[key]:,} scans {what}" for key, what in PARTS.items()]),
        "side": FINE,
    }


def _scores(run: Run) -> Iterable[tuple[str, str, str]]:
    """Name, value and interval of each score, over all classes first."""
    named = [(score, None, title) for score, title in TITLES.items()]
    named += [("recall", row["class"], f"recall of {escaped(row['class'])}") for row in run.test["classes"]]
    for score, class_name, title in named:
        record = run.record(score, class_name)
        yield title, value(record["value"], score), interval(record, score) or record["reason"]


def _baselines(run: Run) -> Iterable[tuple[str, str, str]]:
    """Name, accuracy, and by how much the model is ahead, of each baseline."""
    for row in run.baselines["baselines"]:
        ahead, low, high = (row[key] for key in ("difference", "difference_low", "difference_high"))
        between = "no interval" if low is None else f"{points(low)} to {points(high)}"
        yield BASELINES[row["baseline"]], with_interval(row, "accuracy", "accuracy"), f"{points(ahead)} ({between})"


def _explanations(run: Run) -> str:
    """Whether the heat maps of the model are worth anything."""
    found = run.explain
    if not found or not found["scans"]:
        return "None was measured, so trust no heat map of this model."
    verdict = "" if found["shown"] else " So none is shown, and none is to be trusted."
    return f"Measured on {count(found['scans'], 'test scan')} whose tumour is outlined: {found['reason']}.{verdict}"


def _pointing(run: Run) -> Iterable[tuple[str, str, str]]:
    """How often heat maps, and what they are compared with, point at the tumour, and how much of them lies in it."""
    rows = [row for row in (run.explain or {"rows": []})["rows"] if row["by"] == "all"]
    for of, title in HEAT_MAPS.items():
        records = [
            row | {"reason": "no interval"}
            for score in SCORES
            for row in rows
            if (row["of"], row["score"]) == (of, score)
        ]
        if len(records) == len(SCORES):
            yield title, *(with_interval(record, "accuracy") for record in records)


def _confidence(rows: Iterable[Mapping]) -> Iterable[tuple[str, ...]]:
    """Range, test scans, error rate and interval of each range of confidence."""
    for row in rows:
        between = f"{percent(row['from'])} to {percent(row['to'])}"
        yield between, f"{row['scans']:,}", percent(row["error_rate"]), interval(row, "accuracy") or row["reason"]
