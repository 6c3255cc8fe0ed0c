"""The report of a run as one page of HTML, which page.html lays out."""

import base64
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from trueslice.report import rows, text
from trueslice.report.alt import alternatives
from trueslice.report.claim import claim, source
from trueslice.report.flow import flow
from trueslice.report.provenance import Drawing
from trueslice.report.run import BASELINES, Run, count, interval, percent

FLOW, SCORES, CLASSES, DIVISION = "The way of the files", "All scores", "Each class", "How the scans were divided"
CURVES, LIKENESS, MAP = "Loss and accuracy", "Likeness to the training scans", "A map of the scans"
CLOSER = "Mistakes and doubtful hits beside the training scans most like them"
# Sections of the page: the headings under each, in the words of text.statement or of this module.
SECTIONS = {
    "Where the scans come from": (
        FLOW, "What the scans are", text.COPIES, text.PATIENTS, "Labels that contradict each other", DIVISION,
    ),
    "How the model learned": (CURVES,),
    "How well it does": (
        "What the accuracy is", SCORES, CLASSES, "What the intervals cover", text.TUMOURS, text.CALIBRATION, text.RISK,
    ),
    "Where it does well, and where not": (
        text.SEEN, LIKENESS, text.BY, "Which way up", text.UNTUNED, text.EXTERNAL,
    ),
    "What the model sees": (text.EXPLAINED, CLOSER, MAP),
    "What these numbers do not say": ("Limits",),
}  # fmt: skip
# The figures under each heading.
FIGURES = {
    "What the scans are": ("copy_matches",),
    text.COPIES: ("leaked_share", "leaked_pairs"),
    CURVES: ("training_loss", "train_vs_test_accuracy"),
    "What the accuracy is": ("confusion_matrix",),
    CLASSES: ("per_class_accuracy", "per_class_f1_score"),
    text.TUMOURS: ("roc",),
    text.CALIBRATION: ("reliability",),
    text.RISK: ("risk_coverage",),
    text.SEEN: ("exposure",),
    LIKENESS: ("accuracy_by_similarity",),
    text.EXTERNAL: ("external",),
    MAP: ("embedding",),
    text.EXPLAINED: ("explanation_worth", "explanations"),
    CLOSER: ("closer_look",),
}
# These show scans, and keep their colours in the dark.
OF_SCANS = ("leaked_pairs", "explanations", "closer_look")
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
    "embedding": "Scans that lie close together look alike to the model. A plane shows only a part of it.",
    "explanation_worth": "How often the place that matters most to the model lies in the tumour.",
    "explanations": "Test scans drawn at random: what matters most to the model’s answer, and the tumour’s outline.",
    "closer_look": "The most confident mistakes and the least confident hits, with the training scans most like them.",
    "training_loss": (
        "Loss of the objective over each batch, and cross-entropy over the classes on validation scans. "
        "They are of different kinds: do not compare them."
    ),
}


@dataclass(frozen=True)
class Picture:
    """A figure within the page."""

    name: str
    link: str
    alternative: str
    caption: str
    size: tuple[int, int]  # width and height in pixels
    of_scans: bool


@dataclass(frozen=True)
class Part:
    """What stands under one heading; a template of the page adds what only one part has."""

    heading: str
    words: str = ""
    tables: list = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def page(run: Run, figures: Mapping[str, bytes], scans_sha256: str, drawing: Drawing) -> str:
    """One page of HTML with all that a run measured; it loads nothing, since the figures are within it.

    Args:
        run: the run.
        figures: PNG by name of figure.
        scans_sha256: hash of data/scans/scans.csv, which says what data the run had.
        drawing: what may differ between two pages of the same run; it stands in the section `drawing` alone.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    classes, reasons = rows.class_rows(run)
    record = run.record("accuracy")
    items = claim(run)
    html = environment.get_template("page.html").render(
        run=run,
        accuracy=percent(record["value"]),
        interval=interval(record, "accuracy") or f"none: {record['reason']}",
        protocol=_protocol(run),
        unit=run.intervals["unit"],
        cautions=list(_cautions(run)),
        brief=list(rows.brief_rows(run)),
        sections={title: list(_parts(run, headings, figures)) for title, headings in SECTIONS.items()},
        flow=flow(run),
        headings={"flow": FLOW, "scores": SCORES, "classes": CLASSES, "division": DIVISION},
        overall=list(rows.overall_rows(run)),
        class_scores=rows.PER_CLASS.values(),
        classes=classes,
        reasons=reasons,
        split_names=[rows.SPLIT[key] for key in rows.split_keys(run)],
        split=list(rows.split_rows(run)),
        source=list(_source(run, scans_sha256)),
        drawing=drawing,
        training=list(_training(drawing.training)),
        settings=list(rows.settings(run)),
        items=items,
        known=sum(item.known for item in items),
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
    best = max(run.baselines["baselines"], key=lambda row: row["accuracy"])
    if (best["difference_low"] or 0) <= 0:
        yield (
            f"Not shown to be better than the {BASELINES[best['baseline']]}, which needs no fine-tuning and reaches "
            f"{percent(best['accuracy'])}."
        )
    yield "For research. Not for clinical use."


def _parts(run: Run, headings: Iterable[str], figures: Mapping[str, bytes]) -> Iterator[Part]:
    """The parts of a section; a heading under which the run has nothing is left out."""
    statement, tables = text.statement(run), rows.tables(run)
    described = alternatives(run)
    for heading in headings:
        pictures = [
            _picture(name, figures[name], described[name]) for name in FIGURES.get(heading, ()) if name in figures
        ]
        words = statement.get(heading, "")
        if words or pictures or heading in (FLOW, SCORES, CLASSES, DIVISION):
            yield Part(heading, words, tables.get(heading, []), pictures)


def _picture(name: str, png: bytes, alternative: str) -> Picture:
    """A figure as it stands in the page: WebP, without loss but for scans, whose noise would take most of the page."""
    with Image.open(io.BytesIO(png)) as image, io.BytesIO() as file:
        size = image.size
        image.convert("RGB").save(file, "WEBP", lossless=name not in OF_SCANS, quality=70, method=6)
        link = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
    return Picture(name, link, alternative, CAPTIONS[name], size, name in OF_SCANS)


def _source(run: Run, scans_sha256: str) -> Iterable[tuple[str, str]]:
    """What the run was made of, the same in every drawing of it."""
    checkpoint = run.model["checkpoint"]
    yield "Data", f"{source(run)}, {count(run.data['files'], 'file')}"
    yield "Version of the data", f"SHA-256 of data/scans/scans.csv: {scans_sha256}"
    revision = checkpoint["revision"] or "none: it is built here, or a folder"
    yield "Checkpoint", checkpoint["name"]
    yield "Revision of the checkpoint", revision
    yield "Libraries of the training", ", ".join(f"{name} {number}" for name, number in run.model["versions"].items())


def _training(timing: Mapping) -> Iterable[tuple[str, str]]:
    minutes, seconds = divmod(round(timing["seconds"]), 60)
    yield "Device of the training", timing["device"]
    yield "Time of the training", f"{minutes} min {seconds} s, {timing['images_per_second']:,.0f} images a second"
    yield "Most memory of the training", f"{timing['peak_memory_mb']:,.0f} MB"
