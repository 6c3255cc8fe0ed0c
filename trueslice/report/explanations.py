"""Figures of explanations: which parts of a scan decide its prediction, and if they are in the tumour."""

import numpy as np
from matplotlib.figure import Figure

from trueslice.records.explain import ExplanationScores
from trueslice.report.figures import BLUE, GREY, PERCENT, WIDTH, Tile, canvas, list_classes, montage, wrapped
from trueslice.report.format import counted, percent
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


def draw(explain: ExplanationScores, examples: Examples, maps: np.ndarray, pixels: np.ndarray) -> dict[str, Figure]:
    """Draw the figures for which the run has scores or scans, by name; maps only if the scores say so.

    `maps`, as in data/explanations.npy, are of the N test scans, uint8 [N, 2, s, s], and `pixels` of all scans.
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
    axes.grid(True, axis="x")
    return figure


def drawn_at_random(examples: Examples, maps: np.ndarray, pixels: np.ndarray) -> Figure:
    """Draw random test scans, each above the same scan with its map and the outline of the tumour."""
    note = "Drawn at random. The line is the tumour's outline as the source gives it"
    scans = [Tile(pixels[examples.scan[row]], _prediction(examples, row)) for row in range(len(examples))]
    rows = [scans, [_mapped(examples, row, maps, pixels) for row in range(len(examples))]]
    return montage("What matters most to the model", note, rows, bar=True)


def closer_look(examples: Examples, maps: np.ndarray | None, pixels: np.ndarray) -> Figure:
    """Draw test scans in rows, with their map, if any, and the most similar training scans."""
    rows = []
    for row in range(len(examples)):
        said = f"{_prediction(examples, row)}\n{percent(examples.probability[row])} sure"
        nearest = [column[row] for column in (examples.nearest_1, examples.nearest_2, examples.nearest_3)]
        mapped = [] if maps is None else [_mapped(examples, row, maps, pixels)._replace(above="map")]
        others = [Tile(pixels[scan], "training scan") for scan in nearest]
        rows.append([Tile(pixels[examples.scan[row]], said), *mapped, *others])
    return montage("The most confident mistakes, and the most doubtful hits", "", rows)


def _mapped(examples: Examples, row: int, maps: np.ndarray, pixels: np.ndarray) -> Tile:
    heat, mask = maps[examples.row[row]]
    return Tile(pixels[examples.scan[row]], heat=heat / 255, mask=mask > 127)


def _prediction(examples: Examples, row: int) -> str:
    """Return the prediction in words, such as `says glioma, rightly`."""
    called, true = examples.predicted[row], examples.class_name[row]
    return wrapped(f"says {called}, {'rightly' if called == true else f'is {true}'}", 17)
