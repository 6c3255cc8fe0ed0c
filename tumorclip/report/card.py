"""The model card: what a released model is, what it was trained on, and what its scores rest on.

Mitchell et al. 2019, "Model Cards for Model Reporting". The head of the card is what the Hugging Face hub reads.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tumorclip.report.claim import claim
from tumorclip.report.run import Run, count, interval, percent, value
from tumorclip.report.text import BY, EXTERNAL, PATIENTS, SEEN, TUMOURS, UNTUNED, statement

TEMPLATE = Path(__file__).parent / "card.md"
TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "macro_auroc": "macro AUROC",
}
# What the hub calls a score, and with which arguments.
METRICS = {"accuracy": ("accuracy", None), "macro_f1": ("f1", {"average": "macro"})}
BUILT_IN = ("tiny", "tiny_conv")
HUB_ID = r"[\w-][\w.-]*/[\w.-]+"
DETAILS = (BY, TUMOURS, "Leaving out what the model is unsure of", "Which way up")


def card(run: Run, released: Mapping) -> str:
    """The model card of a run, as Markdown with a head in YAML. The same run gives the same text.

    Args:
        run: what was measured.
        released: the content of tumorclip.json in the folder of the released model.
    """
    from huggingface_hub import ModelCard, ModelCardData

    said = {heading: escaped(text) for heading, text in statement(run).items()}
    checkpoint = run.model["checkpoint"]["name"]
    results = _results(run)
    data = ModelCardData(
        language="en",
        license="mit" if run.drawn and (checkpoint in BUILT_IN or checkpoint.startswith("openai/clip-")) else "unknown",
        library_name="transformers",
        pipeline_tag="zero-shot-image-classification",
        tags=["clip", "brain-mri", "image-classification", "tumorclip"],
        base_model=checkpoint if re.fullmatch(HUB_ID, checkpoint) else None,
        metrics=["accuracy", "f1"],
        model_name="TumorCLIP" if results else None,
        eval_results=results or None,
    )
    return str(
        ModelCard.from_template(
            data,
            template_path=str(TEMPLATE),
            drawn=run.drawn,
            kaggle=run.settings["data"]["source"] == "kaggle",
            checkpoint=escaped(_checkpoint(run)),
            openai=checkpoint.startswith("openai/"),
            built_in=checkpoint in BUILT_IN,
            classes=[escaped(row["class"]) for row in run.test["classes"]],
            captions=[(escaped(name), [escaped(text) for text in texts]) for name, texts in released["classes"].items()],
            scores=_scores(run),
            unit=run.intervals["unit"],
            said=said,
            seen=[said[heading] for heading in (PATIENTS, "Copies between training and test", SEEN)],
            untuned=said[UNTUNED],
            external=said[EXTERNAL],
            details=[(heading, said[heading]) for heading in DETAILS if heading in said],
            confidence=released["confidence"],
            unlike=released["unlike"],
            known=[f"{run.split[key]:,} {name}" for key, name in PARTS.items()],
            claim=[(item.number, item.asked, escaped(item.answer)) for item in claim(run)],
            percent=percent,
            count=count,
        )
    )


# Keys of split.json that count the scans of each part, and what the parts are for.
PARTS = {"train": "for training", "val": "for validation", "test": "for the test"}


def escaped(text: str) -> str:
    """Text in which Markdown finds no markup of its own."""
    return re.sub(r"([\\`*_{}\[\]<>|$~])", r"\\\1", text)


def _results(run: Run) -> list:
    """The scores that the hub lists, each with its interval in its name."""
    from huggingface_hub import EvalResult

    results = []
    for score, (kind, arguments) in METRICS.items():
        record = run.record(score)
        if record["value"] is None:
            continue
        covered = interval(record, score)
        over = f" (95 % interval over {run.intervals['unit']['name']}s {covered})" if covered else " (no interval)"
        results.append(
            EvalResult(
                task_type="image-classification",
                task_name="Image classification",
                dataset_type="imagefolder",
                dataset_name=_data_set(run),
                dataset_config=run.split["protocol"],
                dataset_split="test",
                metric_type=kind,
                metric_value=round(record["value"], 4),
                metric_name=TITLES[score] + over,
                metric_args=arguments,
            )
        )
    return results


def _data_set(run: Run) -> str:
    data = run.settings["data"]
    if run.drawn:
        return "Phantoms that TumorCLIP draws; nobody was scanned"
    if data["source"] == "kaggle":
        return f"Kaggle: {data['kaggle']['dataset']}"
    return "Brain MRI scans of a folder"


def _checkpoint(run: Run) -> str:
    """The name of the checkpoint; of a folder no more than its last part, since the rest is about a machine."""
    checkpoint = run.model["checkpoint"]
    name = checkpoint["name"]
    if not re.fullmatch(HUB_ID, name):
        return name.rstrip("/").rsplit("/", 1)[-1]
    return f"{name}, revision {checkpoint['revision']}" if checkpoint["revision"] else name


def _scores(run: Run) -> Iterable[tuple[str, str, str]]:
    """Name, value and interval of each score, over all classes first."""
    for score, title in TITLES.items():
        record = run.record(score)
        yield title, value(record["value"], score), interval(record, score) or record["reason"]
    for row in run.test["classes"]:
        record = run.record("recall", row["class"])
        title = f"recall of {escaped(row['class'])}"
        yield title, value(record["value"], "recall"), interval(record, "recall") or record["reason"]
