"""The figures of a run: each function draws one, as a matplotlib Figure.

Nothing is computed here: every number in a figure is in metrics/, plots/steps.csv or plots/embedding.csv. Colour-blind
readers can tell the colours of Okabe and Ito (2008) apart; lines also differ in dash and marker, for grey prints.
"""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from trueslice.files import whole_file
from trueslice.records.test import MIN_DISTINCT, TumourScores
from trueslice.report import overlay
from trueslice.report.format import counted, number, percent, with_interval
from trueslice.report.run import EXPOSURES, Run
from trueslice.tables.embedding import EmbeddingMap
from trueslice.tables.steps import Steps

style.use(Path(__file__).with_name("figures.mplstyle"))
BLUE, ORANGE, BLACK, GREY = "#0072B2", "#D55E00", "#1A1A1A", "#5C5C5C"
LIGHT_GREY, PALE = "#B5B5B5", "#E3E3E3"
DARK, ON_DARK = "#14171A", "#E8EAEC"  # paper and ink of the report in the dark, and of montages
# One hue whose lightness falls evenly from paper to ink: even to the eye, in grey print and for the colour-blind.
PAPER_TO_INK = LinearSegmentedColormap.from_list("paper_to_ink", ["#FFFFFF", "#0B3C6F"])
DPI = 200
WIDTH = 6.2  # inches
NOTE = 80  # characters of a line of explanation
LINE = 0.18  # inches, height of a line of words in a montage
GAP = 0.06  # between scans of a montage, where a scan is 1 wide
PERCENT = PercentFormatter(1, decimals=0, symbol=" %")
COUNT = FuncFormatter(lambda number, _: f"{number:,.0f}")
WHOLE = {"integer": True, "min_n_ticks": 1, "steps": [1, 2, 5, 10]}
INTERVALS = "Lines are 95 % intervals"
SHARE_OF_SCANS = "accuracy (share of the scans)"
PAIRS_IN_A_ROW = 4
# Colours of classes. A class also has a marker of its own.
OF_CLASSES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#1A1A1A", "#B8A800")
MARKERS = "osD^vPXp"
# The style of each exposure.
SEEN: dict[str, dict[str, Any]] = {
    "copy": {"color": ORANGE, "marker": "s"},
    "patient": {"color": BLUE, "marker": "D", "markerfacecolor": "white"},
    "neither": {"color": BLUE, "marker": "o"},
    "unknown": {"color": GREY, "marker": "^"},
}


class Tables(NamedTuple):
    """Tables with the points of two figures."""

    steps: Steps  # the loss of every training step
    embedding: EmbeddingMap  # the scans in the plane of the embeddings


class Tile(NamedTuple):
    """A scan in a montage; `heat` and `mask` as for `overlay.draw`."""

    pixels: np.ndarray
    above: str = ""  # words
    below: str = ""
    heat: np.ndarray | None = None
    mask: np.ndarray | None = None


def draw(run: Run, tables: Tables, pixels: np.ndarray) -> dict[str, Figure]:
    """Draw every figure for which the run has numbers, by its name; `pixels`, of all scans, are as in `verify`."""
    figures = {
        "training_loss": training_loss(run, tables.steps),
        "train_vs_test_accuracy": train_vs_test_accuracy(run),
        "per_class_accuracy": per_class(run, "recall"),
        "per_class_f1_score": per_class(run, "f1"),
        "confusion_matrix": confusion_matrix(run),
        "reliability": reliability(run),
        "risk_coverage": risk_coverage(run),
        "accuracy_by_similarity": accuracy_by_similarity(run),
        "copy_matches": copy_matches(run),
        "embedding": embedding_map(run, tables.embedding),
    }
    if any(row.accuracy is not None and row.exposure != "unknown" for row in run.test.exposure):
        figures["exposure"] = exposure(run)
    if run.test.tumour is not None and run.test.tumour.roc:
        figures["roc"] = roc(run.test.tumour)
    if run.external.sets:
        figures["external"] = external(run)
    if run.data.examples:
        figures["leaked_pairs"] = leaked_pairs(run, pixels)
    if run.data.test_scans:
        figures["leaked_share"] = leaked_share(run)
    return figures


def training_loss(run: Run, steps: Steps) -> Figure:
    """Draw the loss of every training step, its running mean, and the validation loss at the end of every epoch."""
    epochs = run.train.epochs
    figure, axes = canvas("Training loss", f"{counted(len(steps), 'step')}, {counted(len(epochs), 'epoch')}")
    marker = _marker("o", len(steps))
    axes.plot(steps.step, steps.loss, color=BLUE, alpha=0.35, linewidth=0.8, marker=marker, label="each step")
    axes.plot(steps.step, steps.mean_loss, color=BLUE, linewidth=2, label="running mean")
    ends = [epoch.epoch * len(steps) / len(epochs) for epoch in epochs]
    validation = [epoch.val_loss for epoch in epochs]
    dashed = {"color": ORANGE, "linestyle": "--", "marker": _marker("s", len(epochs))}
    axes.plot(ends, validation, label="validation, every epoch", **dashed)
    axes.set(xlabel="step", ylabel="loss (cross-entropy, nats)", xlim=(0, 1.01 * len(steps) + 0.5))
    axes.set_ylim(0, 1.06 * max(*steps.loss, *validation))
    axes.xaxis.set_major_locator(MaxNLocator(**WHOLE))
    axes.xaxis.set_major_formatter(COUNT)
    return _finished(figure, legend=3)


def train_vs_test_accuracy(run: Run) -> Figure:
    """Draw training and validation accuracy of every epoch, and the test accuracy as one line."""
    epochs, best_epoch, test = run.train.epochs, run.train.best_epoch, run.test.accuracy
    figure, axes = canvas("Accuracy in training and test", f"{counted(len(epochs), 'epoch')}")
    numbers = [epoch.epoch for epoch in epochs]
    train, validation = [epoch.train_accuracy for epoch in epochs], [epoch.val_accuracy for epoch in epochs]
    axes.plot(numbers, train, color=BLUE, marker=_marker("o", len(epochs)), label="training")
    axes.plot(numbers, validation, color=ORANGE, linestyle="--", marker=_marker("s", len(epochs)), label="validation")
    best = validation[numbers.index(best_epoch)]
    ring = f"best epoch: {best_epoch} ({percent(best)})"
    axes.plot(best_epoch, best, color=BLACK, linestyle="", marker="o", markersize=12, fillstyle="none", label=ring)
    axes.axhline(test, color=BLACK, linestyle="-.", linewidth=1.3)
    _beside(axes, f"test\n{percent(test)}", (1, test), xycoords=("axes fraction", "data"))
    axes.set(xlabel="epoch", ylabel="accuracy (share of scans)", xlim=(0.7, len(epochs) + 0.3))
    axes.set_ylim(max(0, np.floor(10 * min(*train, *validation, test) - 0.3) / 10), 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(**WHOLE))
    return _finished(figure, axes.yaxis, legend=3, grid="y")


def per_class(run: Run, score: str) -> Figure:
    """Draw a bar from 0 to 1 for the sensitivity (`recall`) or the F1 score (`f1`) of each class, with its interval."""
    rows = run.test.classes
    records = [run.intervals.find(score, row.class_name) for row in rows]
    if score == "recall":
        title, label = "Sensitivity of each class", "sensitivity (share of the class's scans)"
        note = f"Accuracy over all classes: {percent(run.test.accuracy)} of {counted(run.test.scans, 'test scan')}"
    else:
        title, label = "F1 score of each class", "F1 score (0 to 1)"
        note = f"Mean over the classes (macro F1): {number(run.test.macro_f1, 'macro_f1')}"
    if any(record.low is not None for record in records):
        note += f".\n{INTERVALS}"
    figure, axes = canvas(title, note, (WIDTH, 1.7 + 0.45 * len(rows)))
    list_classes(axes, [wrapped(f"{row.class_name} ({row.scans:,})") for row in rows], "class (number of scans)")
    axes.barh(range(len(rows)), [record.value or 0 for record in records], height=0.65, color=BLUE)
    for place, record in enumerate(records):
        _whisker(axes, (record.low, record.high), (place, place))
        _beside(axes, number(record.value, score), (record.high or record.value or 0, place))
    axes.set(xlabel=label, xlim=(0, 1))
    shares = [axes.xaxis] if score == "recall" else []
    return _finished(figure, *shares, grid="x")


def confusion_matrix(run: Run) -> Figure:
    """Draw test scans by reference standard (rows) and predicted class (columns), with the sensitivity."""
    classes = run.test.classes
    counts = np.array([row.predicted_as for row in classes])
    # The darkness of a cell, relative to its row, as the colour bar says.
    shades = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(3.2, 0.85 * len(classes))
    note = "Number of test scans, and sensitivity on the diagonal"
    figure, axes = canvas("Confusion matrix", note, (side + 3, side + 1.7))
    image = axes.imshow(shades, cmap=PAPER_TO_INK, vmin=0, vmax=1)
    for (row, column), scans in np.ndenumerate(counts):
        centred = {"ha": "center", "color": "white" if shades[row, column] > 0.7 else "black"}
        up = 6 if row == column else 0
        _beside(axes, f"{scans:,}", (column, row), (0, up), **centred, fontsize=12, fontweight="bold")
        if row == column:
            recall = classes[row].recall
            _beside(axes, "–" if recall is None else percent(recall), (column, row), (0, -9), **centred, fontsize=9)
    places = np.arange(len(classes))
    names = [wrapped(row.class_name) for row in classes]
    slanted = max(len(line) for name in names for line in name.split("\n")) > 10
    axes.set_xticks(places, names, **({"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if slanted else {}))
    axes.set_yticks(places, [wrapped(f"{row.class_name} ({row.scans:,})") for row in classes])
    axes.set(xlabel="predicted class", ylabel="reference standard (number of scans)")
    for edge in places[1:] - 0.5:
        axes.axhline(edge, color=PALE, linewidth=1.5)
        axes.axvline(edge, color=PALE, linewidth=1.5)
    axes.spines[:].set_visible(True)
    axes.tick_params(length=0)
    figure.colorbar(image, format=PERCENT, shrink=0.6, aspect=30, label="share of the row's scans")
    return figure


def copy_matches(run: Run) -> Figure:
    """Draw a histogram of the highest correlation of each scan with another, for copies and others."""
    data, threshold = run.data, run.params.verify.copy_threshold
    note = f"{counted(data.decoded, 'file')}, {counted(data.distinct_scans, 'distinct scan')}"
    figure, axes = canvas("Each scan's best match", note)
    # The first bin is far wider: it holds all lower correlations. It is drawn apart, and as narrow as the others.
    bins = data.best_matches
    step = bins[1].upper - bins[1].lower
    left = np.array([bins[0].upper - 3 * step, *(each.lower for each in bins[1:])])
    others, copies = [each.others for each in bins], [each.copies for each in bins]
    axes.bar(left, others, step / 2, align="edge", color=LIGHT_GREY, label="no copy")
    axes.bar(left + step / 2, copies, step / 2, align="edge", color=BLUE, label="has a copy")
    axes.axvline(threshold, color=ORANGE, linestyle="--", linewidth=1.3, label=f"threshold {threshold:g}")
    words = f"copies from {threshold:g} on, if small windows agree too;\nbelow it, only if alignment lifts them to it"
    corner: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "ha": "right", "va": "top", "fontsize": 9}
    _beside(axes, words, (threshold, 1), (-6, 0), **corner)
    axes.set_yscale("symlog", linthresh=1)
    axes.yaxis.set_major_formatter(COUNT)
    axes.set(ylim=(0, 20 * data.decoded), ylabel="scans (logarithmic)")
    axes.set(xlim=(left[0] - step, bins[-1].upper + step / 2))
    ticks = np.linspace(bins[0].upper, bins[-1].upper, 5)[1:]
    axes.set_xticks([left[0] + step / 2, *ticks], [f"below\n{bins[0].upper:g}", *(f"{tick:g}" for tick in ticks)])
    axes.set_xlabel("correlation with the most similar scan, before alignment")
    return _finished(figure, legend=3, grid="y")


def leaked_pairs(run: Run, pixels: np.ndarray) -> Figure:
    """Draw pairs of copies, one above the other, as their files show them; `pixels` as for `draw`."""
    examples, published = run.data.examples, run.data.test_scans > 0
    title = "Test scans and their copies in Training" if published else "Scans and their copies"
    note = "Above each pair: the kind of copy, and the correlation\nof the pixels once it is undone"
    rows = []
    for start in range(0, len(examples), PAIRS_IN_A_ROW):
        shown = examples[start : start + PAIRS_IN_A_ROW]
        # Rounded down: only equal pixels correlate by 1.
        kinds = [
            f"{wrapped(pair.kind.replace('_', ' '), 14)}\n{int(1000 * pair.correlation) / 1000:.3f}" for pair in shown
        ]
        rows.append([Tile(pixels[pair.a], kind) for pair, kind in zip(shown, kinds, strict=True)])
        rows.append([Tile(pixels[pair.b], below=wrapped(pair.class_name, 16)) for pair in shown])
    return montage(title, note, rows)


def leaked_share(run: Run) -> Figure:
    """Draw the published test scans of each class with a copy, or another scan of the patient, in Training."""
    data, rows = run.data, run.data.classes
    copies, patients = data.leaked_test_scans, data.patient_leaked_test_scans
    whole = counted(data.test_scans, "published test scan")
    note = f"{copies:,} by a copy, {patients:,} by the patient alone,\nof {whole}"
    size = (WIDTH + 0.6, 2.3 + 0.45 * len(rows))
    figure, axes = canvas("Test scans with a copy or a patient in Training", note, size)
    list_classes(axes, [wrapped(row.class_name) for row in rows], "class")
    starts = np.zeros(len(rows))
    hatched = {"color": BLUE, "hatch": "////", "edgecolor": "white", "linewidth": 0}
    for widths, name, look in (
        ([row.leaked for row in rows], "copy in Training", {"color": ORANGE}),
        ([row.patient_leaked for row in rows], "only the patient in Training", hatched),
        ([row.test - row.leaked - row.patient_leaked for row in rows], "neither known", {"color": PALE}),
    ):
        axes.barh(range(len(rows)), widths, left=starts, height=0.65, label=name, **look)
        starts = starts + widths
    for place, row in enumerate(rows):
        _beside(axes, f"{row.leaked:,} + {row.patient_leaked:,} of {row.test:,}", (row.test, place))
    axes.set(xlabel="scans", xlim=(0, max(row.test for row in rows)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    return _finished(figure, legend=3, grid="x")


def reliability(run: Run) -> Figure:
    """Draw the accuracy at each confidence, with and without temperature, above the number of scans."""
    bins, calibration = run.test.reliability, run.test.calibration
    figure = Figure(figsize=(WIDTH, 6.4), dpi=DPI, layout="constrained")
    axes, strip = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    note = (
        f"Expected calibration error (ECE): {calibration.ece:.3f} with temperature, "
        f"{calibration.ece_before:.3f} without,\n"
        f"and {calibration.ece_if_calibrated:.3f} by chance if perfectly calibrated.\n"
        "Pale bars are 95 % intervals"
    )
    _head(axes, "Accuracy by confidence", note)
    for each in bins:
        if each.low is not None:
            axes.vlines(each.confidence, each.low, each.high, color=BLUE, alpha=0.25, linewidth=6)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.3, label="perfectly calibrated")
    before: dict[str, Any] = {"color": ORANGE, "linestyle": "--", "linewidth": 0.9, "marker": "s", "fillstyle": "none"}
    for points, label, look in (
        ([(each.confidence_before, each.accuracy_before) for each in bins], "without temperature", before),
        ([(each.confidence, each.accuracy) for each in bins], "with temperature", {"color": BLUE, "marker": "o"}),
    ):
        axes.plot(*np.array([point for point in points if None not in point]).reshape(-1, 2).T, label=label, **look)
    axes.set(ylabel=SHARE_OF_SCANS, xlim=(0, 1.02), ylim=(-0.02, 1.02))
    for each in bins:
        strip.bar((each.lower + each.upper) / 2, each.scans, 0.9 * (each.upper - each.lower), color=BLUE)
    strip.set_yscale("symlog", linthresh=1)
    strip.set(xlabel="confidence: probability of the predicted class", ylabel="scans (log.)", ylim=(0, None))
    strip.yaxis.set_major_formatter(COUNT)
    return _finished(figure, axes.xaxis, axes.yaxis, legend=3)


def accuracy_by_similarity(run: Run) -> Figure:
    """Draw the accuracy of test scans by correlation with the most similar training scan."""
    bins = run.test.similarity
    few = [0 < each.distinct < MIN_DISTINCT for each in bins]
    hollow = f".\nHollow: fewer than {MIN_DISTINCT} distinct scans, too few for a number"
    note = INTERVALS + (hollow if any(few) else "")
    figure, axes = canvas("Accuracy by similarity to the training scans", note, (WIDTH + 0.8, 4.6))
    for place, each in enumerate(bins):
        if each.accuracy is None:
            continue
        _whisker(axes, (place, place), (each.low, each.high))
        fill = "white" if few[place] else BLUE
        axes.plot(place, each.accuracy, color=BLUE, marker="o", markersize=7, markerfacecolor=fill)
        if not few[place]:
            _beside(axes, percent(each.accuracy), (place, each.accuracy), (8, 0))
    names = [f"below {bins[0].upper:g}", *(f"{each.lower:g} to {each.upper:g}" for each in bins[1:])]
    counts = [f"{counted(each.scans, 'scan')}\n{each.distinct:,} distinct" for each in bins]
    axes.set_xticks(range(len(bins)), map("\n".join, zip(names, counts, strict=True)))
    axes.tick_params(axis="x", length=0)
    axes.set(xlabel="correlation with the most similar training scan", ylabel=SHARE_OF_SCANS)
    axes.set(xlim=(-0.5, len(bins) - 0.3), ylim=(-0.02, 1.02))
    return _finished(figure, axes.yaxis, grid="y")


def exposure(run: Run) -> Figure:
    """Draw the accuracy of each class and of all by exposure, as dots."""
    shown = [row for row in run.test.exposure if row.accuracy is not None]
    order = [*(row.class_name for row in run.test.classes), None]
    names = [name for name in order if any(row.class_name == name for row in shown)]
    # The rows of a class are close together; those of all classes come last.
    rows = sorted(shown, key=lambda row: names.index(row.class_name))
    places = [place + 0.8 * names.index(row.class_name) for place, row in enumerate(rows)]
    note = f"{INTERVALS}.\nFewer than {MIN_DISTINCT} distinct scans: no number"
    size = (WIDTH + 0.6, 2.4 + 0.22 * places[-1])
    figure, axes = canvas("Accuracy by what the model has seen", note, size)
    both = list(zip(places, rows, strict=True))
    middles = [np.mean([place for place, row in both if row.class_name == name]) for name in names]
    axes.set_yticks(middles, ["all classes" if name is None else wrapped(name) for name in names])
    axes.tick_params(axis="y", length=0)
    for kind, words in EXPOSURES.items():
        dots = [
            (place, row.accuracy, row.low, row.high, f"{percent(row.accuracy)} of {row.scans:,}")
            for place, row in both
            if row.exposure == kind and row.accuracy is not None
        ]
        _dots(axes, dots, label=words, **SEEN[kind])
    axes.set(xlabel=SHARE_OF_SCANS, xlim=(0, 1), ylabel="class", ylim=(places[-1] + 0.8, -0.8))
    return _finished(figure, axes.xaxis, legend=2, grid="x")


def external(run: Run) -> Figure:
    """Draw the accuracy on the internal test set and on each other data set, of new scans and of copies."""
    sets = run.external.sets
    figure, axes = canvas("Other data sets", INTERVALS, (WIDTH + 0.6, 2.4 + 0.7 * len(sets)))
    labels = [f"internal test\n{counted(run.test.scans, 'scan')}"]
    for each in sets:
        out = each.dropped_as_development + each.dropped_within
        labels.append(f"{wrapped(each.set)}\n{each.kept:,} kept, {out:,} left out")
    list_classes(axes, labels, "data set")
    inside = run.intervals.find("accuracy")
    kept = [(run.test.accuracy, inside.low, inside.high), *((each.accuracy, each.low, each.high) for each in sets)]
    left_out = [(each.accuracy_of_dropped, None, None) for each in sets]
    for name, kind, rows, first in (("kept", "neither", kept, 0.0), ("copies, left out", "copy", left_out, 1.25)):
        dots = [
            (first + place, accuracy, low, high, percent(accuracy))
            for place, (accuracy, low, high) in enumerate(rows)
            if accuracy is not None
        ]
        _dots(axes, dots, label=name, **SEEN[kind])
    axes.set(xlabel=SHARE_OF_SCANS, xlim=(0, 1))
    return _finished(figure, axes.xaxis, legend=2, grid="x")


def roc(tumour: TumourScores) -> Figure:
    """Draw the ROC curve of tumour against the negative class, with its band and the operating points."""
    points = tumour.roc
    # Where too few healthy scans were tested, the band begins at 0 and tells nothing.
    band = np.array([(at.false_alarms, at.low, at.high) for at in points if at.low], float).reshape(-1, 3)
    note = textwrap.fill(f"Area under the curve: {with_interval(tumour, 'auroc')}", NOTE)
    if len(band) and band[0, 0] > 0:
        note += f"\nBelow {percent(band[0, 0])} false alarms: too few healthy scans for a band"
    figure, axes = canvas("Tumour or no tumour", note, (WIDTH, 5.6))
    axes.fill_between(*band.T, color=BLUE, alpha=0.18, linewidth=0, label="95 % band")
    curve = np.array([(point.false_alarms, point.sensitivity) for point in points])
    axes.plot(*curve.T, color=BLUE, linewidth=2, label="this model")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.3, label="by chance")
    for row, marker in zip(tumour.operating_points, "sD^vP*", strict=False):
        if row.sensitivity is None or row.specificity is None:
            continue
        reached = f"sensitivity {percent(row.sensitivity)}, specificity {percent(row.specificity)}"
        look = {"color": ORANGE, "marker": marker, "linestyle": "", "markersize": 7, "clip_on": False}
        axes.plot(1 - row.specificity, row.sensitivity, label=f"set for {percent(row.target)}: {reached}", **look)
    axes.set(xlabel="false alarms (share of scans without a tumour)", ylabel="sensitivity (share of the tumours)")
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower right", fontsize=9)
    return _finished(figure, axes.xaxis, axes.yaxis)


def risk_coverage(run: Run) -> Figure:
    """Draw the share of errors among the most confident answers by the share of scans that is answered."""
    curve = run.test.risk_coverage
    note = textwrap.fill(f"Area under the curve: {with_interval(curve, 'area')}", NOTE)
    figure, axes = canvas("Errors among the most confident answers", note)
    coverages, risks = [row.coverage for row in curve.rows], [row.risk for row in curve.rows]
    axes.plot(coverages, risks, color=BLUE, linewidth=2, marker=_marker("o", len(risks)))
    axes.set(xlabel="share of the test scans that is answered", ylabel="share of errors among them")
    axes.set(xlim=(0, 1.01), ylim=(0, max(1.1 * max(risks), 0.01)))
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    return _finished(figure, axes.xaxis)


def embedding_map(run: Run, scans: EmbeddingMap) -> Figure:
    """Draw the embeddings of test scans and, faint, of training scans by class, in a plane; mistakes have a ring."""
    shares = run.embedding.variance
    test, faint = scans.take(scans.split == "test"), scans.take(scans.split == "train")
    wrong = test.take(test.y_pred != test.class_name)
    both = f"{counted(len(test), 'test scan')} and, faint, {counted(len(faint), 'training scan')}"
    figure, axes = canvas("Map of the scans by their embeddings", f"{both}; ringed: wrongly classified", (WIDTH, 5.6))
    for place, row in enumerate(run.test.classes):
        colour, marker = (of[place % len(of)] for of in (OF_CLASSES, MARKERS))
        look: dict[str, Any] = {"color": colour, "marker": marker, "linewidths": 0}
        below, above = (part.take(part.class_name == row.class_name) for part in (faint, test))
        axes.scatter(below.x, below.y, s=9, alpha=0.16, **look)
        axes.scatter(above.x, above.y, s=16, alpha=0.85, label=wrapped(row.class_name), zorder=2, **look)
    axes.scatter(wrong.x, wrong.y, s=60, facecolors="none", edgecolors=BLACK, linewidths=1, zorder=3)
    axes.set(xlabel=f"first component ({percent(shares.x)} of the variance)", xticks=[])
    axes.set(ylabel=f"second component ({percent(shares.y)} of the variance)", yticks=[])
    return _finished(figure, legend=4, grid="")


def png(figure: Figure) -> bytes:
    """Return `figure` as PNG, cut to its content; the same figure always gives the same bytes."""
    with io.BytesIO() as file:
        whole: dict[str, Any] = {"dpi": figure.dpi, "bbox_inches": "tight", "pad_inches": 0.15}
        figure.savefig(file, format="png", metadata={"Software": None}, **whole)
        return file.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write `figure` as PNG."""
    with whole_file(path) as new:
        new.write_bytes(png(figure))


def canvas(title: str, note: str, size: tuple[float, float] = (WIDTH, 4.2)) -> tuple[Figure, Axes]:
    """Make a figure of `size` inches with one pair of axes, a bold title and a note under it."""
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    _head(axes, title, note)
    return figure, axes


def montage(title: str, note: str, rows: Sequence[Sequence[Tile]], bar: bool = False) -> Figure:
    """Draw rows of scans on a dark ground, as viewers do, with a colour `bar` of their maps if asked for.

    There are about as many pixels as scans have: more only make a larger file.
    """
    columns = max(map(len, rows))
    inch = (1 + GAP) * columns / WIDTH  # where a scan is 1 wide
    figure, axes = canvas(title, note)
    top = 0.0
    for row in rows:
        top += LINE * inch * max(tile.above.count("\n") + bool(tile.above) for tile in row)
        for place, tile in enumerate(row):
            left = (1 + GAP) * place
            overlay.draw(axes, tile.pixels, tile.heat, tile.mask, at=(left, top))
            _beside(axes, tile.above, (left + 0.5, top), (0, 3), ha="center", va="bottom", fontsize=9)
            _beside(axes, tile.below, (left + 0.5, top + 1), (0, -3), ha="center", va="top", fontsize=9)
        top += 1 + GAP + LINE * inch * max(tile.below.count("\n") + bool(tile.below) for tile in row)
    axes.set(xlim=(0, (1 + GAP) * columns), ylim=(top, 0))
    figure.set_size_inches(WIDTH, top / inch + 1)
    figure.set_dpi(0.5 * DPI)
    if bar:
        overlay.add_colour_bar(figure, axes).ax.tick_params(labelcolor=ON_DARK)
    figure.set_facecolor(DARK)
    for text in figure.findobj(Text):
        text.set_color(ON_DARK)
    return figure


def list_classes(axes: Axes, names: Sequence[str], label: str) -> None:
    """Give each name a place on the y axis, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set(ylabel=label, ylim=(len(names) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)


def _finished(figure: Figure, *shares: Axis, legend: int = 0, grid: str = "both") -> Figure:
    """Write the axes of `shares` as percentages, and add a grid, and a legend of as many columns below."""
    for axis in shares:
        axis.set_major_formatter(PERCENT)
    for axes in figure.axes if grid else ():
        axes.grid(True, axis=grid)
    if legend:
        figure.legend(loc="outside lower center", ncols=legend, columnspacing=1.2)
    return figure


def _head(axes: Axes, title: str, note: str) -> None:
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", pad=24 + 14 * note.count("\n"))
    axes.annotate(note, (0, 1), (0, 9), xycoords="axes fraction", textcoords="offset points", color=GREY)


def _beside(
    axes: Axes, words: str, at: tuple[float, float], offset: tuple[float, float] = (6, 0), va: str = "center", **look
) -> None:
    """Write words at a place of the data, `offset` points from it."""
    axes.annotate(words, at, offset, textcoords="offset points", va=va, **look)


def _dots(axes: Axes, dots: Sequence[tuple[float, float, float | None, float | None, str]], **look) -> None:
    """Draw values from 0 to 1, each on its line, with the ends of its interval, if any, and words on its right."""
    for place, value, low, high, words in dots:
        _whisker(axes, (low, high), (place, place))
        _beside(axes, words, (high or value, place), fontsize=9)
    if dots:  # else the legend would name them
        places, values, *_ = zip(*dots, strict=True)
        axes.plot(values, places, **look, linestyle="", markersize=6, clip_on=False)


def _whisker(axes: Axes, x: tuple[float | None, float | None], y: tuple[float | None, float | None]) -> None:
    """Draw an interval, if any, from one point to another, black with a white edge so that it can be seen on a bar."""
    if None in (*x, *y):
        return
    marker = "|" if y[0] == y[1] else "_"
    for colour, extra in (("white", 1.8), (BLACK, 0)):
        width = 1.2 + extra
        look: dict[str, Any] = {"marker": marker, "markersize": 9 + extra, "markeredgewidth": width}
        axes.plot(x, y, color=colour, linewidth=width, **look, clip_on=False)


def _marker(shape: str, points: int) -> str:
    """Return a marker for every point while they are few enough to tell apart, else none."""
    return shape if points <= 30 else ""


def wrapped(name: str, width: int = 26) -> str:
    """Break words into lines."""
    return textwrap.fill(name, width)
