"""The figures of a run. Each function draws one matplotlib Figure; `save` writes it as PNG.

Colours are those of Okabe and Ito (2008), which the colour-blind can tell apart; lines also differ in dash and marker,
so that a grey print can be read too.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from tumorclip.evaluate.calibration import BINS, Reliability
from tumorclip.evaluate.intervals import MIN_DISTINCT, Bin, Interval
from tumorclip.files import whole_file

BLUE, ORANGE, BLACK, GREY = "#0072B2", "#D55E00", "#1A1A1A", "#5C5C5C"
LIGHT_GREY = "#B5B5B5"
# One hue whose lightness falls evenly from paper to ink: even to the eye, in grey print and for the colour-blind.
PAPER_TO_INK = LinearSegmentedColormap.from_list("paper_to_ink", ["#FFFFFF", "#0B3C6F"])
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same letters
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": BLACK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.markersize": 5,
    "text.color": BLACK,
    "text.parse_math": False,  # a class may have dollar signs in its name
    "text.usetex": False,
    "xtick.color": GREY,
    "xtick.labelcolor": BLACK,
    "ytick.color": GREY,
    "ytick.labelcolor": BLACK,
}
DPI = 200
PERCENTAGES = ("accuracy", "share")
SIMILARITIES = (0.7, 0.8, 0.9, 0.95, 0.98)  # edges of the bins, finer where neighbouring slices and copies lie
OVER_GROUPS = "95% intervals over groups of copies"


@rc_context(STYLE)
def training_loss(losses: Sequence[float], validation: Sequence[float] | None = None) -> Figure:
    """Loss of every training step, its running mean, and the validation loss at the end of every epoch.

    Args:
        losses: of every step, in order, at least one.
        validation: loss of every epoch, in order; None where there is none.
    """
    count = len(losses)
    figure, axes = _canvas("Training loss", f"{count:,} step{'s' * (count > 1)}")
    axes.plot(
        range(1, count + 1),
        losses,
        color=BLUE,
        alpha=0.35,
        linewidth=0.8,
        marker=_marker("o", count),
        label="each step",
    )
    window = count // 40 * 2 + 1
    if window > 1:
        mean = _running_mean(losses, window)
        axes.plot(range(1, count + 1), mean, color=BLUE, linewidth=2, label=f"mean over {window} steps")
    if validation:
        epochs = len(validation)
        ends = np.arange(1, epochs + 1) * count / epochs
        marker = _marker("s", epochs)
        axes.plot(ends, validation, color=ORANGE, linestyle="--", marker=marker, label="validation, every epoch")
    highest = max(*losses, *(validation or [0]))
    axes.set(xlabel="step", ylabel="loss (cross-entropy, nats)", xlim=(0, count + max(1, 0.01 * count)))
    axes.set_ylim(0, 1.06 * highest)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid(True)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@rc_context(STYLE)
def train_vs_test_accuracy(
    train: Sequence[float], test: float, validation: Sequence[float] | None = None, best_epoch: int | None = None
) -> Figure:
    """Training and validation accuracy of every epoch, and the test accuracy as one line.

    Args:
        train: accuracy of every epoch in [0, 1], in order, at least one.
        test: accuracy in [0, 1] of the weights that were kept.
        validation: accuracy of every epoch; None where there is none.
        best_epoch: the epoch whose weights were kept, counted from 1; None where that is not known.
    """
    count = len(train)
    figure, axes = _canvas("Train and test accuracy", f"{count} epoch{'s' * (count > 1)}")
    epochs = range(1, count + 1)
    axes.plot(epochs, train, color=BLUE, marker=_marker("o", count), label="train")
    if validation:
        axes.plot(epochs, validation, color=ORANGE, linestyle="--", marker=_marker("s", count), label="validation")
    if best_epoch is not None:
        best = (validation or train)[best_epoch - 1]
        ring = {"color": BLACK, "linestyle": "", "marker": "o", "markersize": 12, "fillstyle": "none"}
        axes.plot([best_epoch], [best], **ring, label=f"best epoch: {best_epoch} ({best:.1%})")
    axes.axhline(test, color=BLACK, linestyle="-.", linewidth=1.3)
    beside = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    axes.annotate(f"test\n{test:.1%}", (1, test), (6, 0), **beside)
    lowest = min(*train, *(validation or []), test)
    axes.set(xlabel="epoch", ylabel="accuracy (share of scans)", xlim=(0.7, count + 0.3))
    axes.set_ylim(max(0, np.floor(lowest * 10 - 0.3) / 10), 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(True, axis="y")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@rc_context(STYLE)
def per_class_accuracy(scores: Mapping, intervals: Sequence[Mapping] = ()) -> Figure:
    """Share of each class's test scans that were recognised, as bars.

    Args:
        scores: as `tumorclip.evaluate.score.score` returns them.
        intervals: the records that `tumorclip.evaluate.score.evaluate` returns.
    """
    note = f"All classes together {scores['accuracy']:.1%} of {scores['scans']:,} test scans"
    label = "accuracy (share of the class's scans)"
    return _bars(scores["classes"], "accuracy", "Accuracy per class", note, label, _whiskers(intervals, "recall"))


@rc_context(STYLE)
def per_class_f1_score(scores: Mapping, intervals: Sequence[Mapping] = ()) -> Figure:
    """F1 score of each class, as bars.

    Args:
        scores: as `tumorclip.evaluate.score.score` returns them.
        intervals: the records that `tumorclip.evaluate.score.evaluate` returns.
    """
    mean = scores["macro_f1"]
    note = "Mean over the classes " + ("not defined" if mean is None else f"{mean:.3f}")
    label = "F1 score (0 to 1)"
    return _bars(scores["classes"], "f1", "F1 score per class", note, label, _whiskers(intervals, "f1"))


@rc_context(STYLE)
def confusion_matrix(scores: Mapping) -> Figure:
    """Test scans by actual (rows) and predicted class (columns), with counts and shares of the row.

    Args:
        scores: as `tumorclip.evaluate.score.score` returns them.
    """
    rows = scores["classes"]
    counts = np.array([list(row["predicted_as"].values()) for row in rows])
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = max(3.2, 0.85 * len(rows))
    figure, axes = _canvas("Confusion matrix", "Test scans, and share of the actual class", (side + 2.4, side + 1.7))
    axes.imshow(shares, cmap=PAPER_TO_INK, vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = f"{shares[row, column]:.1%}" if totals[row, 0] else "–"
        centred = {"textcoords": "offset points", "ha": "center", "va": "center"}
        centred["color"] = _readable_on(PAPER_TO_INK(shares[row, column]))
        axes.annotate(f"{count:,}", (column, row), (0, 6), **centred, fontsize=12, fontweight="bold")
        axes.annotate(share, (column, row), (0, -9), **centred, fontsize=8.5)
    places = np.arange(len(rows))
    names = [_wrapped(row["class"]) for row in rows]
    slanted = max(len(line) for name in names for line in name.split("\n")) > 10
    axes.set_xticks(places, names, **({"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if slanted else {}))
    axes.set_yticks(places, [_wrapped(f"{row['class']} ({row['scans']:,})") for row in rows])
    axes.set(xlabel="predicted class", ylabel="actual class (number of scans)")
    for edge in places[1:] - 0.5:
        axes.axhline(edge, color="white", linewidth=1.5)
        axes.axvline(edge, color="white", linewidth=1.5)
    axes.spines[:].set_visible(True)
    axes.tick_params(length=0)
    return figure


@rc_context(STYLE)
def copy_matches(best_matches: np.ndarray, has_copy: np.ndarray, threshold: float) -> Figure:
    """How much each scan correlates with the one most like it: copies and others, with a valley between them.

    Args:
        best_matches: float [N], highest correlation with any other scan, without alignment.
        has_copy: bool [N], whether the scan was judged to have a copy.
        threshold: correlation from which scans count as copies.
    """
    note = f"{has_copy.sum():,} of {len(has_copy):,} scans have a copy, with or without alignment"
    figure, axes = _canvas("Each scan's best match", note)
    step = 0.005
    edges = np.arange(160, 201) * step
    for label, part, colour, offset in (("no copy", ~has_copy, LIGHT_GREY, 0), ("has a copy", has_copy, BLUE, 0.5)):
        heights, _ = np.histogram(best_matches[part], edges)
        left = edges[:-1] + offset * step
        axes.bar(left, heights, step / 2, align="edge", color=colour, label=f"{label} ({part.sum():,})")
    axes.axvline(threshold, color=ORANGE, linestyle="--", linewidth=1.3, label=f"threshold {threshold:g}")
    words = f"copies from {threshold:g} on, if small windows agree too;\nbelow it, only if alignment lifts them over it"
    beside = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "right", "va": "top"}
    axes.annotate(words, (threshold, 1), (-6, 0), **beside, fontsize=8.5)
    below = (best_matches < edges[0]).sum()
    axes.set_yscale("symlog", linthresh=1)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    axes.set(xlim=(edges[0], edges[-1] + step / 2), xlabel="correlation with the scan most like it, before alignment")
    axes.set(ylim=(0, 10 * len(best_matches)), ylabel="scans (logarithmic)")
    if below:
        axes.set_xlabel(f"{axes.get_xlabel()}\n(not shown: {below:,} below {edges[0]:g})")
    axes.grid(True, axis="y")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@rc_context(STYLE)
def leaked_pairs(
    above: Sequence[np.ndarray], below: Sequence[np.ndarray], kinds: Sequence[str], correlations: Sequence[float],
    names: Sequence[str], published: bool,
) -> Figure:  # fmt: skip
    """Pairs of copies, one a column, as they lie in their files.

    Args:
        above, below: uint8 [S, S] or [S, S, 3] of each pair; test scans and training scans if `published`.
        kinds: of each pair, as in pairs.csv.
        correlations: of each pair.
        names: what each pair is called under it, such as its class.
        published: whether the source comes with a test set.
    """
    count, step = len(kinds), 1.06
    title = "Test scans (above) and their copies in Training (below)" if published else "Scans and their copies"
    note = "How the copy was made, and how much the pixels correlate once that is undone"
    figure, axes = _canvas(title, note, (max(6.0, 1.15 * count + 0.6), 3.6))
    captions = [textwrap.fill(kind.replace("_", " "), 12) for kind in kinds]
    for column, pair in enumerate(zip(above, below, strict=True)):
        for row, scan in enumerate(pair):
            place = (step * column, step * column + 1, step * row + 1, step * row)
            axes.imshow(scan, cmap="gray", vmin=0, vmax=255, extent=place)
        middle = {"textcoords": "offset points", "ha": "center", "fontsize": 8.5}
        # Rounded down: only equal pixels correlate by 1.
        caption = f"{captions[column]}\n{int(1000 * correlations[column]) / 1000:.3f}"
        axes.annotate(caption, (step * column + 0.5, 0), (0, 4), **middle, va="bottom")
        name = textwrap.fill(names[column], 13)
        axes.annotate(name, (step * column + 0.5, step + 1), (0, -4), **middle, va="top", color=GREY)
    axes.set(xlim=(0, step * count), ylim=(step + 1, 0))
    axes.set_yticks([0.5, step + 0.5], ["test", "training"] if published else ["scan", "copy"])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    # The title makes room for the captions between it and the scans.
    lines = max(caption.count("\n") for caption in captions) + 2
    axes.texts[0].set_position((0, 9 + 11 * lines))
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", pad=24 + 11 * lines)
    return figure


@rc_context(STYLE)
def leaked_share(leaked: Mapping[str, int], scans: Mapping[str, int]) -> Figure:
    """Share of each class's test scans that have a copy in Training, as bars.

    Args:
        leaked: test scans with such a copy, for each class and in `total`.
        scans: test scans, for each class and in `total`.
    """
    names = [name for name in scans if name != "total"]
    shares = [leaked[name] / scans[name] if scans[name] else None for name in names]
    rows = [{"class": name, "scans": scans[name], "share": share} for name, share in zip(names, shares, strict=True)]
    note = f"All classes together {leaked['total'] / scans['total']:.1%}, {leaked['total']:,} of {scans['total']:,}"
    figure = _bars(rows, "share", "Test scans with a copy in Training", note, "share of the class's test scans", {})
    for text, name in zip(figure.axes[0].texts[1:], names, strict=True):
        if scans[name]:
            text.set_text(f"{text.get_text()} ({leaked[name]:,})")
    return figure


@rc_context(STYLE)
def reliability(after: Reliability, before: Reliability, intervals: Sequence[Interval], errors: Mapping) -> Figure:
    """How often predictions of each confidence are right, after and before temperature, above the number of scans.

    Args:
        after, before: of the test scans, with and without temperature.
        intervals: of the accuracies after temperature, one for each bin.
        errors: `calibration` as `tumorclip.evaluate.score.evaluate` returns it.
    """
    figure = Figure(figsize=(6, 6.4), dpi=DPI, layout="constrained")
    axes, strip = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    note = (
        f"Calibration error (ECE) {errors['after_temperature']['ece']:.3f} after temperature, "
        f"{errors['before_temperature']['ece']:.3f} before;\n"
        f"a perfectly calibrated model would show {errors['ece_if_calibrated']:.3f} by chance.\n"
        f"Pale bars are {OVER_GROUPS}"
    )
    _head(axes, "Accuracy by confidence", note)
    for confidence, interval in zip(after.confidence, intervals, strict=True):
        if interval.low is not None:
            axes.vlines(confidence, interval.low, interval.high, color=BLUE, alpha=0.25, linewidth=6)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.3, label="perfectly calibrated")
    seen = before.scans > 0
    old = {"color": ORANGE, "linestyle": "--", "linewidth": 0.9, "marker": "s", "fillstyle": "none"}
    axes.plot(before.confidence[seen], before.accuracy[seen], **old, label="before temperature")
    seen = after.scans > 0
    axes.plot(after.confidence[seen], after.accuracy[seen], color=BLUE, marker="o", label="after temperature")
    axes.set(ylabel="accuracy (share of the scans)", xlim=(0, 1.02), ylim=(-0.02, 1.02))
    strip.bar((np.arange(BINS) + 0.5) / BINS, after.scans, 0.9 / BINS, color=BLUE)
    strip.set_yscale("symlog", linthresh=1)
    strip.set(xlabel="confidence: probability of the predicted class", ylabel="scans (log.)", ylim=(0, None))
    strip.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    for panel in (axes, strip):
        panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        panel.set_axisbelow(True)
        panel.grid(True)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@rc_context(STYLE)
def accuracy_by_similarity(bins: Sequence[Bin]) -> Figure:
    """Accuracy of the test scans by how much they correlate with the training scan most like them.

    Args:
        bins: one more than `SIMILARITIES`, in that order.
    """
    note = f"Lines are {OVER_GROUPS}"
    few = [0 < part.distinct < MIN_DISTINCT for part in bins]
    if any(few):
        note += f".\nHollow: fewer than {MIN_DISTINCT} distinct scans, too few for a figure"
    figure, axes = _canvas("Accuracy by similarity to the training scans", note, (7, 4.8))
    for place, part in enumerate(bins):
        if part.share is None:
            continue
        if part.interval.low is not None:
            _whisker(axes, (place, place), (part.interval.low, part.interval.high))
        fill = "white" if few[place] else BLUE
        axes.plot(place, part.share, color=BLUE, marker="o", markersize=7, markerfacecolor=fill)
        if not few[place]:
            axes.annotate(f"{part.share:.1%}", (place, part.share), (8, 0), textcoords="offset points", va="center")
    edges = [f"{edge:g}" for edge in SIMILARITIES]
    names = [f"below {edges[0]}", *(f"{low} to {high}" for low, high in zip(edges, [*edges[1:], "1"], strict=True))]
    counts = [f"{part.scans:,} scan{_s(part.scans)}\n{part.distinct:,} distinct" for part in bins]
    axes.set_xticks(range(len(bins)), [f"{name}\n{count}" for name, count in zip(names, counts, strict=True)])
    axes.tick_params(axis="x", length=0)
    axes.set(xlabel="correlation with the most similar training scan", ylabel="accuracy (share of the scans)")
    axes.set(xlim=(-0.5, len(bins) - 0.3), ylim=(-0.02, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(True, axis="y")
    return figure


@rc_context(STYLE)
def leaked_against_clean(compared: Mapping, names: Sequence[str], intervals: Sequence[Mapping]) -> Figure:
    """Accuracy of each class on test scans with a copy in Training, and on those without, as pairs of dots.

    Args:
        compared: `leaked_against_clean` as `tumorclip.evaluate.score.evaluate` returns it, a class at least with
            figures.
        names: of all classes.
        intervals: the records that `evaluate` returns with it.
    """
    shown = [name for name in names if compared[name]["leaked_accuracy"] is not None]
    left_out = [name for name in names if name not in shown]
    note = f"Lines are {OVER_GROUPS}"
    if left_out:
        few = f"Left out, with fewer than {MIN_DISTINCT} distinct scans with or without a copy: {', '.join(left_out)}"
        note += ".\n" + textwrap.fill(few, 60)
    rows = [(name, compared[name]) for name in shown]
    if len(shown) > 1:
        rows.append((f"mean over {'these' if left_out else 'all'} classes", compared["mean_over_classes"]))
    height = 1.8 + 0.7 * len(rows) + 0.2 * note.count("\n")
    figure, axes = _canvas("Copies of training scans against other test scans", note, (7, height))
    for kind, colour, marker, up in (("leaked", ORANGE, "s", -0.17), ("clean", BLUE, "o", 0.17)):
        whiskers = _whiskers(intervals, f"{kind}_accuracy")
        for place, (name, row) in enumerate(rows):
            low, high = whiskers.get(name) or (row[f"{kind}_accuracy"],) * 2
            if low < high:
                _whisker(axes, (low, high), (place + up, place + up))
            text = f"{row[f'{kind}_accuracy']:.1%}"
            axes.annotate(text, (high, place + up), (7, 0), textcoords="offset points", va="center", fontsize=9)
        values = [row[f"{kind}_accuracy"] for _, row in rows]
        label = {"leaked": "with a copy in Training", "clean": "without"}[kind]
        dots = {"color": colour, "marker": marker, "markersize": 6, "linestyle": ""}
        axes.plot(values, np.arange(len(rows)) + up, **dots, label=label)
    counts = [f"\n{row['leaked_scans']:,} with, {row['clean_scans']:,} without" for _, row in rows[: len(shown)]]
    labels = [_wrapped(name) + count for (name, _), count in zip(rows, [*counts, ""], strict=False)]
    axes.set_yticks(range(len(rows)), labels)
    axes.set(xlabel="accuracy (share of the scans)", ylabel="class (number of scans)")
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@rc_context(STYLE)
def save(figure: Figure, path: Path) -> None:
    """Write `figure` as PNG, cut to its content; the same figure always gives the same bytes."""
    with whole_file(path) as beside:
        figure.savefig(
            beside, format="png", dpi="figure", bbox_inches="tight", pad_inches=0.15, metadata={"Software": None}
        )


def _canvas(title: str, note: str, size: tuple[float, float] = (7, 4.2)) -> tuple[Figure, Axes]:
    """A figure of `size` inches with one pair of axes, a bold title and a line of explanation under it."""
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    _head(axes, title, note)
    axes.set_axisbelow(True)
    return figure, axes


def _head(axes: Axes, title: str, note: str) -> None:
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", pad=24 + 14 * note.count("\n"))
    axes.annotate(note, (0, 1), (0, 9), xycoords="axes fraction", textcoords="offset points", color=GREY)


def _bars(
    rows: Sequence[Mapping], key: str, title: str, note: str, label: str, whiskers: Mapping[str, tuple[float, float]]
) -> Figure:
    note += f".\nLines are {OVER_GROUPS}" if whiskers else ""
    figure, axes = _canvas(title, note, (7, 1.7 + 0.45 * len(rows)))
    places = np.arange(len(rows))
    axes.barh(places, [row[key] or 0 for row in rows], height=0.65, color=BLUE)
    for place, row in enumerate(rows):
        value = row[key]
        text = "not defined" if value is None else f"{value:.1%}" if key in PERCENTAGES else f"{value:.3f}"
        low, high = whiskers.get(row["class"], (value or 0, value or 0))
        if low < high:
            _whisker(axes, (low, high), (place, place))
        axes.annotate(text, (high, place), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(places, [_wrapped(f"{row['class']} ({row['scans']:,})") for row in rows])
    axes.set(xlabel=label, ylabel="class (number of scans)", xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
    if key in PERCENTAGES:
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x")
    return figure


def _whiskers(intervals: Sequence[Mapping], score: str) -> dict[str, tuple[float, float]]:
    """The intervals of `score` of the classes that have one, from the records of `scoring.evaluate`."""
    rows = [row for row in intervals if row["score"] == score and row["class"] is not None and row["low"] is not None]
    return {row["class"]: (row["low"], row["high"]) for row in rows}


def _whisker(axes: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    """An interval from one point to another, black in a white edge so that it is seen on a bar too."""
    marker = "|" if y[0] == y[1] else "_"
    for colour, extra in (("white", 1.8), (BLACK, 0)):
        ends = {"marker": marker, "markersize": 9 + extra, "markeredgewidth": 1.2 + extra}
        axes.plot(x, y, color=colour, linewidth=1.2 + extra, **ends, clip_on=False)


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _running_mean(values: Sequence[float], window: int) -> np.ndarray:
    """Mean over `window` (odd) values around each; fewer at both ends."""
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def _marker(shape: str, points: int) -> str:
    """A marker on every point while they are few enough to tell apart; always on a single one, which has no line."""
    return shape if points <= 30 else ""


def _wrapped(name: str) -> str:
    return textwrap.fill(name, 26, break_long_words=False)


def _readable_on(background: tuple[float, ...]) -> str:
    """Black or white, whichever has the higher contrast (WCAG 2.2) on the RGB colour `background`."""
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in background[:3])
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"
