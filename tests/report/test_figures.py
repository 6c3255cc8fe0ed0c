"""What the figures say, read back from what they draw."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from PIL import Image

from tumorclip.evaluate.calibration import reliability
from tumorclip.evaluate.intervals import Bin, Interval
from tumorclip.evaluate.score import score
from tumorclip.report import figures

CLASSES = ["glioma", "meningioma", "notumor", "pituitary"]
# The original project's test predictions (rows: actual) and its training accuracy in both epochs.
ORIGINAL = np.array([[99, 96, 0, 105], [9, 171, 52, 74], [2, 50, 313, 40], [3, 12, 5, 280]])
ORIGINAL_TRAIN_ACCURACY = [0.3421, 0.5776]


def scores(confusion: np.ndarray, names: list[str]) -> dict:
    actual, predicted = np.indices(confusion.shape)
    return score(
        np.repeat(actual.ravel(), confusion.ravel()), np.repeat(predicted.ravel(), confusion.ravel()), names, None
    )


def texts(figure: Figure) -> list[str]:
    """The annotations inside the axes, without the note under the title, in the order in which they were drawn."""
    return [text.get_text() for text in figure.axes[0].texts if isinstance(text, Annotation)][1:]


def note(figure: Figure) -> str:
    return figure.axes[0].texts[0].get_text()


def line(figure: Figure, label: str) -> list[tuple[float, float]]:
    """The points of the line whose legend entry starts with `label`."""
    (found,) = [line for line in figure.axes[0].lines if line.get_label().startswith(label)]
    return list(zip(*map(list, found.get_data()), strict=True))


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def tick_labels(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_training_loss_shows_every_step_its_running_mean_and_the_validation_loss():
    losses = [float(value) for value in range(80, 0, -1)]
    losses[40] += 50
    figure = figures.training_loss(losses, [70, 30])
    assert line(figure, "each step") == list(zip(range(1, 81), losses, strict=True))
    mean = dict(line(figure, "mean over 5 steps"))
    assert mean[41] == pytest.approx(np.mean(losses[38:43]))
    assert mean[1] == pytest.approx(np.mean(losses[:3]))
    assert line(figure, "validation") == [(40, 70), (80, 30)]
    assert legend(figure) == ["each step", "mean over 5 steps", "validation, every epoch"]
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("step", "loss (cross-entropy, nats)")
    assert figure.axes[0].get_ylim()[0] == 0
    assert figure.axes[0].get_ylim()[1] > max(losses)


def test_training_loss_of_the_original_projects_length_without_validation():
    figure = figures.training_loss(np.linspace(2.2, 1.5, 1428).tolist())
    assert legend(figure) == ["each step", "mean over 71 steps"]
    assert note(figure) == "1,428 steps"


def test_train_vs_test_accuracy_shows_both_histories_the_best_epoch_and_the_test_line():
    figure = figures.train_vs_test_accuracy([0.5, 0.7, 0.9], 0.815, [0.45, 0.8, 0.75], best_epoch=2)
    assert line(figure, "train") == [(1, 0.5), (2, 0.7), (3, 0.9)]
    assert line(figure, "validation") == [(1, 0.45), (2, 0.8), (3, 0.75)]
    assert line(figure, "best epoch") == [(2, 0.8)]
    assert legend(figure) == ["train", "validation", "best epoch: 2 (80.0%)"]
    (test,) = [line for line in figure.axes[0].lines if list(line.get_ydata()) == [0.815, 0.815]]
    assert list(test.get_xdata()) == [0, 1], "from one edge of the axes to the other"
    assert texts(figure) == ["test\n81.5%"]
    assert figure.axes[0].get_ylim()[0] == pytest.approx(0.4)


def test_the_original_projects_figures():
    result = scores(ORIGINAL, CLASSES)
    accuracy = figures.train_vs_test_accuracy(ORIGINAL_TRAIN_ACCURACY, result["accuracy"])
    assert line(accuracy, "train") == [(1, 0.3421), (2, 0.5776)]
    assert legend(accuracy) == ["train"]
    assert texts(accuracy) == ["test\n65.8%"]

    per_class = figures.per_class_accuracy(result)
    assert texts(per_class) == ["33.0%", "55.9%", "77.3%", "93.3%"]
    assert [round(bar.get_width(), 4) for bar in per_class.axes[0].patches] == [0.3300, 0.5588, 0.7728, 0.9333]
    assert tick_labels(per_class.axes[0].yaxis) == [
        "glioma (300)", "meningioma (306)", "notumor (405)", "pituitary (300)",
    ]  # fmt: skip
    assert note(per_class) == "All classes together 65.8% of 1,311 test scans"

    f1 = figures.per_class_f1_score(result)
    assert texts(f1) == ["0.479", "0.539", "0.808", "0.701"]
    assert [round(bar.get_width(), 4) for bar in f1.axes[0].patches] == [0.4794, 0.5386, 0.8077, 0.7009]
    assert note(f1) == "Mean over the classes 0.632"

    matrix = figures.confusion_matrix(result)
    assert texts(matrix)[::2] == [str(count) for count in ORIGINAL.ravel()]
    assert texts(matrix)[1::2][:4] == ["33.0%", "32.0%", "0.0%", "35.0%"]
    assert tick_labels(matrix.axes[0].xaxis) == CLASSES
    (image,) = matrix.axes[0].images
    assert np.allclose(image.get_array(), ORIGINAL / ORIGINAL.sum(axis=1, keepdims=True))


def test_a_name_with_dollar_signs_is_no_formula(tmp_path):
    figure = figures.per_class_accuracy(scores(np.diag([3, 4]), ["$a_b$", "$\\no$"]))
    figures.save(figure, tmp_path / "figure.png")
    assert not any(label.get_parse_math() for label in figure.axes[0].get_yticklabels())


def test_bars_start_at_zero_and_end_at_one():
    axes = figures.per_class_accuracy(scores(np.diag([3, 4]), ["a", "b"])).axes[0]
    assert axes.get_xlim() == (0, 1)
    assert {bar.get_x() for bar in axes.patches} == {0}
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first class on top"


def test_what_is_not_defined_is_said_and_not_drawn_as_zero():
    result = scores(np.array([[5, 0, 0], [0, 0, 0], [1, 0, 0]]), ["a", "b", "c"])
    accuracy = figures.per_class_accuracy(result)
    assert texts(accuracy) == ["100.0%", "not defined", "0.0%"]
    f1 = figures.per_class_f1_score(result)
    assert texts(f1) == ["0.909", "not defined", "0.000"]
    assert note(f1) == "Mean over the classes not defined"
    assert texts(figures.confusion_matrix(result))[6:12] == ["0", "–"] * 3


def records(key: str, names: list[str], low: float, high: float) -> list[dict]:
    return [{"score": key, "class": name, "low": low, "high": high} for name in names]


def whiskers(figure: Figure) -> list[list[tuple[float, float]]]:
    """Both ends of every black line, in the order in which they were drawn."""
    lines = [line for line in figure.axes[0].lines if line.get_color() == figures.BLACK]
    return [list(zip(*line.get_data(), strict=True)) for line in lines]


def test_bars_carry_the_intervals_of_their_own_score_and_numbers_stand_beside_them():
    result = scores(ORIGINAL, CLASSES)
    intervals = [
        *records("recall", CLASSES[:2], 0.2, 0.6), *records("recall", CLASSES[2:3], None, None),
        *records("f1", CLASSES[1:3], 0.5, 0.7), *records("npv", CLASSES, 0, 1), *records("accuracy", [None], 0.1, 0.9),
    ]  # fmt: skip
    accuracy = figures.per_class_accuracy(result, intervals)
    assert whiskers(accuracy) == [[(0.2, 0), (0.6, 0)], [(0.2, 1), (0.6, 1)]]
    assert whiskers(figures.per_class_f1_score(result, intervals)) == [[(0.5, 1), (0.7, 1)], [(0.5, 2), (0.7, 2)]]
    assert texts(accuracy) == ["33.0%", "55.9%", "77.3%", "93.3%"]
    places = [text.xy[0] for text in accuracy.axes[0].texts[1:]]
    assert places == pytest.approx([0.6, 0.6, 0.7728, 0.9333], abs=1e-4)
    assert note(accuracy).endswith(".\nLines are 95% intervals over groups of copies")


CONFIDENCE = np.array([0.41, 0.62, 0.64, 0.98, 0.99, 1.0])
ERRORS = {"after_temperature": {"ece": 0.0123}, "before_temperature": {"ece": 0.0456}, "ece_if_calibrated": 0.0078}


def reliability_figure() -> Figure:
    after = reliability(CONFIDENCE, np.array([False, True, False, True, True, True]))
    before = reliability(np.ones(6), np.array([False, True, False, True, True, True]))
    intervals = [Interval(0.1, 0.9, "wilson") if index == 9 else Interval(None, None, None) for index in range(15)]
    return figures.reliability(after, before, intervals, ERRORS)


def test_reliability_shows_accuracy_by_confidence_after_and_before_and_the_scans_of_each_bin():
    figure = reliability_figure()
    assert np.allclose(line(figure, "after"), [(0.41, 0), (0.63, 0.5), (0.99, 1)])
    assert line(figure, "before") == [(1, pytest.approx(4 / 6))]
    assert line(figure, "perfectly") == [(0, 0), (1, 1)]
    (interval,) = figure.axes[0].collections
    assert interval.get_segments()[0].tolist() == [[pytest.approx(0.63), 0.1], [pytest.approx(0.63), 0.9]]
    counts = {round(15 * bar.get_center()[0] - 0.5): bar.get_height() for bar in figure.axes[1].patches}
    assert {place: count for place, count in counts.items() if count} == {6: 1, 9: 2, 14: 3}
    assert "(ECE) 0.012 after temperature, 0.046 before;" in note(figure)
    assert "would show 0.008 by chance" in note(figure)


def similarity_figure() -> Figure:
    bins = [
        Bin(0, 0, None, Interval(None, None, None)), Bin(1, 1, 1.0, Interval(None, None, None)),
        Bin(35, 29, 0.5, Interval(0.3, 0.7, "wilson")), Bin(1035, 30, 0.6, Interval(0.4, 0.8, "wilson")),
        Bin(40, 40, 1.0, Interval(0.9, 1.0, "exact")), Bin(500, 400, 0.91, Interval(0.9, 0.95, "bootstrap")),
    ]  # fmt: skip
    return figures.accuracy_by_similarity(bins)


def test_accuracy_by_similarity_gives_no_number_for_few_distinct_scans():
    figure = similarity_figure()
    assert texts(figure) == ["60.0%", "100.0%", "91.0%"]
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots] == [
        (1, 1.0), (2, 0.5), (3, 0.6), (4, 1.0), (5, 0.91),
    ]  # fmt: skip
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [True, True, False, False, False]
    assert whiskers(figure)[0] == [(2, 0.3), (2, 0.7)]
    labels = tick_labels(figure.axes[0].xaxis)
    assert labels[:2] == ["below 0.7\n0 scans\n0 distinct", "0.7 to 0.8\n1 scan\n1 distinct"]
    assert labels[-1] == "0.98 to 1\n500 scans\n400 distinct"
    assert "fewer than 30 distinct scans" in note(figure)


def leaked_figure(names: list[str], few: int = 1) -> Figure:
    rows = {
        name: {"leaked_scans": 1000 + index, "clean_scans": 50, "leaked_accuracy": None, "clean_accuracy": None}
        | ({"leaked_accuracy": 0.9, "clean_accuracy": 0.6} if index >= few else {})
        for index, name in enumerate(names)
    }
    compared = rows | {"mean_over_classes": {"classes": "", "leaked_accuracy": 0.9, "clean_accuracy": 0.6}}
    intervals = records("leaked_accuracy", names[few:], 0.8, 1.0) + records("clean_accuracy", names[few:], 0.5, 0.7)
    return figures.leaked_against_clean(compared, names, intervals)


def test_leaked_against_clean_pairs_the_classes_with_enough_scans_and_names_the_others():
    figure = leaked_figure(CLASSES, few=2)
    assert tick_labels(figure.axes[0].yaxis) == [
        "notumor\n1,002 with, 50 without", "pituitary\n1,003 with, 50 without", "mean over these classes",
    ]  # fmt: skip
    assert texts(figure) == ["90.0%"] * 3 + ["60.0%"] * 3
    assert [x for x, _ in line(figure, "with a copy")] == [0.9] * 3
    assert [x for x, _ in line(figure, "without")] == [0.6] * 3
    assert [low for (low, _), _ in whiskers(figure)] == [0.8, 0.8, 0.5, 0.5], "the mean has no interval"
    assert note(figure).replace("\n", " ").endswith("with or without a copy: glioma, meningioma")
    assert "Left out" not in note(leaked_figure(CLASSES, few=0))
    assert tick_labels(leaked_figure(CLASSES, few=0).axes[0].yaxis)[-1] == "mean over all classes"
    assert len(tick_labels(leaked_figure(CLASSES, few=3).axes[0].yaxis)) == 1, "no mean over one class"


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of an RGB colour (WCAG 2.2)."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour[:3]]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_numbers_can_be_read_on_every_colour_of_the_confusion_matrix():
    names = [f"class {index:02}" for index in range(12)]
    confusion = np.array([[index * 9, 99 - index * 9, *[0] * 10] for index in range(12)])
    figure = figures.confusion_matrix(scores(confusion, names))
    for text in [text for text in figure.axes[0].texts if isinstance(text, Annotation)][1:]:
        share = confusion[text.xy[1], text.xy[0]] / 99
        ink = 1.0 if text.get_color() == "white" else 0.0
        lighter, darker = sorted((luminance(figures.PAPER_TO_INK(share)) + 0.05, ink + 0.05), reverse=True)
        assert lighter / darker >= 4.5


def test_the_colour_map_darkens_evenly_so_that_it_survives_grey_print():
    luminances = np.array([luminance(figures.PAPER_TO_INK(share)) for share in np.linspace(0, 1, 11)])
    steps = -np.diff(116 * np.cbrt(luminances) - 16)  # CIE L*, as even as the eye sees it
    assert steps.min() > 0.75 * steps.mean()
    assert steps.max() < 1.25 * steps.mean()


LONG_NAMES = [
    "acute disseminated encephalomyelitis", "glioblastoma - IDH wildtype - grade 4", "no_tumour_at_all", "b",
    "oligodendroglioma_with_1p19q_codeletion", "pituitary", *(f"class {index}" for index in range(6)),
]  # fmt: skip


@pytest.mark.parametrize("names", [["no", "yes"], LONG_NAMES[:2], CLASSES, LONG_NAMES])
def test_no_text_of_a_figure_overlaps_another_or_leaves_the_figure(names, tmp_path):
    confusion = np.full((len(names), len(names)), 12) + np.diag([1234] * len(names))
    result = scores(confusion, names)
    drawn = [
        figures.training_loss([0.7], [0.72]),
        figures.train_vs_test_accuracy([0.9], 0.93, [0.92], 1),
        figures.per_class_accuracy(result),
        figures.per_class_f1_score(result),
        figures.per_class_accuracy(result, records("recall", names, 0.0, 1.0)),
        figures.per_class_f1_score(result, records("f1", names, 0.2, 0.21)),
        figures.confusion_matrix(result),
        reliability_figure(),
        similarity_figure(),
        leaked_figure(names),
        leaked_figure(names, few=len(names) - 1),
        figures.copy_matches(MATCHES, HAS_COPY, 0.98),
        pairs_figure(1),
        pairs_figure(8),
        figures.leaked_share({"total": 9} | dict.fromkeys(names, 9), {"total": 9} | dict.fromkeys(names, 9)),
    ]
    for figure in drawn:
        figures.save(figure, tmp_path / "figure.png")
        figure.draw_without_rendering()
        axes = figure.axes[0]
        # Without slanted labels, whose boxes are larger than they are.
        title = axes.get_title(loc="left")
        straight = [text for text in axes.findobj(Text) if text in axes.texts or text.get_text() == title]
        straight += [axes.xaxis.label, axes.yaxis.label, *axes.get_yticklabels()]
        straight += [label for label in axes.get_xticklabels() if not label.get_rotation()]
        boxes = [text.get_window_extent() for text in straight if text.get_text()]
        for index, box in enumerate(boxes):
            for other in boxes[:index]:
                # Half a pixel of touching is no overlap.
                assert not box.padded(-0.5).overlaps(other.padded(-0.5)), straight[index]
        pixels = np.asarray(Image.open(tmp_path / "figure.png").convert("L"))
        border = np.concatenate(
            [pixels[:8].ravel(), pixels[-8:].ravel(), pixels[:, :8].ravel(), pixels[:, -8:].ravel()]
        )
        assert (border == 255).all(), "nothing is cut off at the edge"


MATCHES = np.array([0.3, 0.9012, 0.9034, 0.9046, 0.9502, 0.9811, 0.9996, 0.9997, 1.0, 1.0])
HAS_COPY = np.array([False, False, True, False, True, False, True, True, True, True])


def test_copy_matches_counts_scans_with_and_without_a_copy_by_their_best_match():
    figure = figures.copy_matches(MATCHES, HAS_COPY, 0.98)
    without, copies = [
        {int(bar.get_x() / 0.005 + 0.01): bar.get_height() for bar in bars if bar.get_height()}
        for bars in figure.axes[0].containers
    ]
    assert without == {180: 2, 196: 1}, "steps of 0.005"
    assert copies == {180: 1, 190: 1, 199: 4}
    assert legend(figure) == ["threshold 0.98", "no copy (4)", "has a copy (6)"]
    assert list(figure.axes[0].lines[0].get_xdata()) == [0.98, 0.98]
    assert note(figure) == "6 of 10 scans have a copy, with or without alignment"
    assert "(not shown: 1 below 0.8)" in figure.axes[0].get_xlabel()
    assert figure.axes[0].get_yscale() == "symlog"


KINDS = ["exact", "mirrored", "upside_down", "quarter_turn_right", "aligned", "near", "half_turn", "aligned"]


def pairs_figure(count: int, published: bool = True, colour: bool = False) -> Figure:
    shape = (8, 8, 3) if colour else (8, 8)
    above, below = np.random.default_rng(0).integers(0, 256, (2, count, *shape), dtype=np.uint8)
    correlations = [1.0, 0.99998, 0.9812, *[0.99] * 5][:count]
    return figures.leaked_pairs(
        above, below, KINDS[:count], correlations, ["glioma", "glioma / notumor", *["notumor"] * 6][:count], published
    )


@pytest.mark.parametrize("colour", [False, True])
def test_leaked_pairs_shows_each_test_scan_above_its_training_scan_with_kind_and_correlation(colour):
    figure = pairs_figure(3, colour=colour)
    above, below = np.random.default_rng(0).integers(0, 256, (2, 3, *((8, 8, 3) if colour else (8, 8))), np.uint8)
    shown = sorted(figure.axes[0].images, key=lambda image: (image.get_extent()[3], image.get_extent()[0]))
    assert all((image.get_array() == scan).all() for image, scan in zip(shown, [*above, *below], strict=True))
    assert texts(figure) == [
        "exact\n1.000", "glioma", "mirrored\n0.999", "glioma /\nnotumor", "upside down\n0.981", "notumor",
    ]  # fmt: skip
    assert tick_labels(figure.axes[0].yaxis) == ["test", "training"]
    assert tick_labels(pairs_figure(3, published=False).axes[0].yaxis) == ["scan", "copy"]


def test_leaked_share_gives_share_and_count_of_every_class():
    figure = figures.leaked_share({"total": 4, "a": 4, "b": 0, "c": 0}, {"total": 10, "a": 8, "b": 2, "c": 0})
    assert texts(figure) == ["50.0% (4)", "0.0% (0)", "not defined"]
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0.5, 0, 0]
    assert tick_labels(figure.axes[0].yaxis) == ["a (8)", "b (2)", "c (0)"]
    assert note(figure) == "All classes together 40.0%, 4 of 10"


def test_the_same_figure_gives_the_same_bytes_and_says_nothing_of_when_and_by_what(tmp_path):
    for name in ("a.png", "b.png"):
        figures.save(figures.confusion_matrix(scores(ORIGINAL, CLASSES)), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert set(image.info) == {"dpi"}
        assert min(image.size) >= 700
