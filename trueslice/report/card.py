"""The model card, which card.md lays out: what a released model is, and how far its scores can be trusted.

As Mitchell et al. 2019, "Model Cards for Model Reporting". Its head, in YAML, is what the Hugging Face hub reads.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trueslice.copies.thumbnails import FINE
from trueslice.records.released import ReleasedModel
from trueslice.report.checklist import checklist
from trueslice.report.format import interval
from trueslice.report.run import BUILT_IN, Run
from trueslice.report.templates import TEMPLATES, passages, render

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "macro_auroc": "macro AUROC",
}
# The scores that the hub lists, as it calls them, each with its arguments.
METRICS = {"accuracy": ("accuracy", None), "macro_f1": ("f1", {"average": "macro"})}


def card(run: Run, released: ReleasedModel) -> str:
    """Return the model card of a run, as Markdown with a head in YAML. The same run gives the same text."""
    said, known = passages("statement.jinja", run), {"titles": TITLES, "side": FINE, "kaggle": _is_kaggle(run)}
    return render("card.md", run, head=_head(run), said=said, released=released, items=checklist(run), **known)


def escaped(text: str) -> str:
    """Return text in which Markdown finds no markup."""
    return re.sub(r"([\\`*_{}\[\]<>|$~])", r"\\\1", text)


TEMPLATES.filters["md"] = escaped


def _head(run: Run) -> str:
    """Return the YAML that the hub reads."""
    from huggingface_hub import ModelCardData

    checkpoint = run.model.checkpoint
    is_free = checkpoint.name in BUILT_IN or checkpoint.name.startswith("openai/clip-")
    results = list(_results(run))
    return ModelCardData(
        language="en",
        # For weights trained on scans of people, only whoever hands them over can state the licence.
        license="mit" if run.drawn and is_free else "unknown",
        library_name="transformers",
        pipeline_tag="zero-shot-image-classification",
        tags=["clip", "brain-mri", "image-classification", "trueslice"],
        base_model=checkpoint.name if checkpoint.revision else None,
        metrics=["accuracy", "f1"],
        model_name="TrueSlice" if results else None,
        eval_results=results or None,
    ).to_yaml()


def _results(run: Run) -> Iterator["EvalResult"]:
    """Yield the scores that the hub lists, each with its interval in its name."""
    from huggingface_hub import EvalResult

    data_set = "Kaggle's brain-tumor-mri-dataset" if _is_kaggle(run) else "brain MRI scans of a folder"
    for score, (kind, arguments) in METRICS.items():
        found = run.intervals.find(score)
        if found.value is not None:
            ends = interval(found)
            note = f"95 % interval {ends}; unit: {run.intervals.unit.name}" if ends else found.reason
            yield EvalResult(
                task_type="image-classification",
                dataset_type="imagefolder",
                dataset_name="phantoms that TrueSlice draws" if run.drawn else data_set,
                dataset_config=run.split.protocol,
                dataset_split="test",
                metric_type=kind,
                metric_value=round(found.value, 4),
                metric_name=f"{TITLES[score]} ({note})",
                metric_args=arguments,
            )


def _is_kaggle(run: Run) -> bool:
    """Tell if the scans are Kaggle's: downloaded from there, or files of a folder whose patients are known there."""
    known = run.params.verify.patients == "auto" and run.data.patients > 0
    return not run.drawn and (known or run.params.data.source == "kaggle")
