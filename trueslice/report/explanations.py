"""Figures of explanations: which parts of a scan decide its prediction, and if they are in the tumour."""

import textwrap

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from trueslice.records.explain import ExplanationScores
from trueslice.report.figures import BLUE, DPI, GREY, PERCENT, STYLE, WIDTH, canvas, list_classes
from trueslice.report.format import counted, percent
from trueslice.report.overlay import add_colour_bar
from trueslice.report.overlay import draw as draw_scan
from trueslice.tables.examples import Examples

# The maps of metrics/explain.json in words, from the worst to the best.
WORDS = {
    "uniform": "any point of the head",
    "random_weights": "weights in random order",
    "other_patient": "masks of other patients\nof the class",
    "fixed_point": "best fixed point\nof the class",
    "explanation": "the explanation",
    "ceiling": "the best that\nthe grid allows",
}
KINDS = {"mistake": "confident mistakes", "hit": "doubtful hits"}


def draw(explain: ExplanationScores, examples: Examples, maps: np.ndarray, pixels: np.ndarray) -> dict[str, Figure]:
    """Draw the figures for which the run has scores or scans.

    Args:
        explain: the scores of explanations. Maps are drawn only if these say so.
        examples: the test scans to show.
        maps: of the test scans, as data/explanations.npy holds them, uint8 [N, 2, s, s].
        pixels: of all scans, uint8 [M, S, S] or [M, S, S, 3].

    Returns:
        Figures by name.
    """
    figures = {}
    if explain.scans:
        figures["explanation_worth"] = worth(explain)
    if explain.shown:
        figures["explanations"] = drawn_at_random(examples.take(examples.kind == "example"), maps, pixels)
    chosen = examples.take(examples.kind != "example")
    if len(chosen):
        figures["closer_look"] = closer_look(chosen, maps if explain.shown else None, pixels)
    return figures


@rc_context(STYLE)
def worth(explain: ExplanationScores) -> Figure:
    """Draw how often the explanation, and each map that it is compared with, points at the tumour."""
    found = {row.of: row for row in explain.rows if (row.by, row.score) == ("all", "pointing")}
    note = f"{counted(explain.scans, 'test scan')} with a mask. Lines are 95 % intervals"
    figure, axes = canvas("How often the explanation points at the tumour", note, (WIDTH + 0.6, 3.9))
    list_classes(axes, list(WORDS.values()), "")
    for place, name in enumerate(WORDS):
        row, colour = found[name], BLUE if name == "explanation" else GREY
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2)
        axes.plot(row.value, place, marker="o", markersize=7, color=colour)
        middle = min(max(row.value, 0.06), 0.96)  # so that the number stays within the axes
        axes.annotate(percent(row.value), (middle, place), (0, 7), textcoords="offset points", ha="center")
    axes.set(xlabel="share of the scans", xlim=(0, 1.02))
    axes.xaxis.set_major_formatter(PERCENT)
    return figure


@rc_context(STYLE)
def drawn_at_random(examples: Examples, maps: np.ndarray, pixels: np.ndarray) -> Figure:
    """Draw random test scans, each above the same scan with its map and the outline of the tumour."""
    figure = Figure(figsize=(WIDTH + 1.2, 4.6), dpi=0.7 * DPI, layout="constrained")
    figure.suptitle("What matters most to the model", x=0.02, ha="left", fontsize=13, fontweight="bold")
    note = "Drawn at random. The line is the tumour's outline as the source gives it"
    figure.supxlabel(note, x=0.02, ha="left", fontsize=10, color=GREY)
    panels = figure.subplots(2, len(examples), squeeze=False)
    for (above, below), row, scan, called, true in zip(
        panels.T, examples.row, examples.scan, examples.predicted, examples.class_name, strict=True
    ):
        draw_scan(above, pixels[scan])
        draw_scan(below, pixels[scan], maps[row, 0] / 255, maps[row, 1] > 127)
        above.set_title(_prediction(called, true), fontsize=9)
    add_colour_bar(figure, list(panels.ravel()))
    return figure


@rc_context(STYLE)
def closer_look(examples: Examples, maps: np.ndarray | None, pixels: np.ndarray) -> Figure:
    """Draw test scans in rows, with their map, if any, and the most similar training scans."""
    rows, columns = len(examples), 4 + (maps is not None)
    figure = Figure(figsize=(WIDTH + 0.6, 1.2 + 1.55 * rows), dpi=0.5 * DPI, layout="constrained")
    title = f"The most {KINDS['mistake']}, and the most {KINDS['hit']}"
    figure.suptitle(title, x=0.02, ha="left", fontsize=13, fontweight="bold")
    panels = figure.subplots(rows, columns, squeeze=False)
    for line, row in zip(panels, range(rows), strict=True):
        test, *others = line
        draw_scan(test, pixels[examples.scan[row]])
        said = _prediction(examples.predicted[row], examples.class_name[row])
        test.set_title(f"{said}\n{percent(examples.probability[row])} sure", fontsize=8)
        if maps is not None:
            place = examples.row[row]
            draw_scan(others[0], pixels[examples.scan[row]], maps[place, 0] / 255, maps[place, 1] > 127)
            others[0].set_title("map", fontsize=8)
            others = others[1:]
        for panel, nearest in zip(others, ("nearest_1", "nearest_2", "nearest_3"), strict=True):
            draw_scan(panel, pixels[getattr(examples, nearest)[row]])
            panel.set_title("training scan", fontsize=8, color=GREY)
    return figure


def _prediction(called: str, true: str) -> str:
    """Return the prediction in words, such as `says glioma, rightly`."""
    told = f"says {called}, rightly" if called == true else f"says {called}, is {true}"
    return textwrap.fill(told, 22)
