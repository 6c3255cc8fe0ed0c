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
    "text.usetex": False,
    "xtick.color": GREY,
    "xtick.labelcolor": BLACK,
    "ytick.color": GREY,
    "ytick.labelcolor": BLACK,
}
DPI = 200
PERCENTAGES = ("accuracy", "share")


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
def per_class_accuracy(scores: Mapping) -> Figure:
    """Share of each class's test scans that were recognised, as bars.

    Args:
        scores: as `tumorclip.results.scoring.score` returns them.
    """
    note = f"All classes together {scores['accuracy']:.1%} of {scores['scans']:,} test scans"
    return _bars(scores["classes"], "accuracy", "Accuracy per class", note, "accuracy (share of the class's scans)")


@rc_context(STYLE)
def per_class_f1_score(scores: Mapping) -> Figure:
    """F1 score of each class, as bars.

    Args:
        scores: as `tumorclip.results.scoring.score` returns them.
    """
    mean = scores["macro_f1"]
    note = "Mean over the classes " + ("not defined" if mean is None else f"{mean:.3f}")
    return _bars(scores["classes"], "f1", "F1 score per class", note, "F1 score (0 to 1)")


@rc_context(STYLE)
def confusion_matrix(scores: Mapping) -> Figure:
    """Test scans by actual (rows) and predicted class (columns), with counts and shares of the row.

    Args:
        scores: as `tumorclip.results.scoring.score` returns them.
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
    figure = _bars(rows, "share", "Test scans with a copy in Training", note, "share of the class's test scans")
    for text, name in zip(figure.axes[0].texts[1:], names, strict=True):
        if scans[name]:
            text.set_text(f"{text.get_text()} ({leaked[name]:,})")
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
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", pad=24)
    axes.annotate(note, (0, 1), (0, 9), xycoords="axes fraction", textcoords="offset points", color=GREY)
    axes.set_axisbelow(True)
    return figure, axes


def _bars(rows: Sequence[Mapping], key: str, title: str, note: str, label: str) -> Figure:
    figure, axes = _canvas(title, note, (7, 1.7 + 0.45 * len(rows)))
    places = np.arange(len(rows))
    axes.barh(places, [row[key] or 0 for row in rows], height=0.65, color=BLUE)
    for place, row in enumerate(rows):
        value = row[key]
        text = "not defined" if value is None else f"{value:.1%}" if key in PERCENTAGES else f"{value:.3f}"
        axes.annotate(text, (value or 0, place), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(places, [_wrapped(f"{row['class']} ({row['scans']:,})") for row in rows])
    axes.set(xlabel=label, ylabel="class (number of scans)", xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
    if key in PERCENTAGES:
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x")
    return figure


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
