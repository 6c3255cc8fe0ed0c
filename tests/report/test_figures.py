"""What the figures say, read back from what they draw."""

import io
from collections.abc import Iterable, Mapping

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from PIL import Image

from tests.report.example_run import changed, degenerate, example, examples, maps, pixels, tables
from trueslice.records.data import CopyExample, MatchBin
from trueslice.report import explanations, figures
from trueslice.report.format import percent
from trueslice.report.run import Run
from trueslice.report.templates import passages
from trueslice.tables.steps import Steps

CLASSES = ["glioma", "meningioma", "notumor", "pituitary"]
# The original project's test predictions (rows: reference label), and its accuracy in both epochs.
ORIGINAL = np.array([[99, 96, 0, 105], [9, 171, 52, 74], [2, 50, 313, 40], [3, 12, 5, 280]])
ORIGINAL_RECALLS = [99 / 300, 171 / 306, 313 / 405, 280 / 300]


def with_classes(confusion: np.ndarray, names: list[str], recalls: list[float | None]) -> Run:
    """An example whose confusion matrix and sensitivities are these."""
    run = example(names=names, negative=None)
    rows = [
        row.model_copy(update={"scans": int(counts.sum()), "predicted_as": counts.tolist(), "recall": recall})
        for row, counts, recall in zip(run.test.classes, confusion, recalls, strict=True)
    ]
    recalls_by_name = dict(zip(names, recalls, strict=True))
    records = [
        record.model_copy(update={"value": recalls_by_name[record.class_name]}) if record.score == "recall" else record
        for record in run.intervals.intervals
    ]
    return changed(changed(run, "test", classes=rows), "intervals", intervals=records)


def original() -> Run:
    return with_classes(ORIGINAL, CLASSES, ORIGINAL_RECALLS)


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


def whiskers(figure: Figure) -> list[list[tuple[float, float]]]:
    """Both ends of every black line, in the order in which they were drawn."""
    lines = [line for line in figure.axes[0].lines if line.get_color() == figures.BLACK]
    return [list(zip(*line.get_data(), strict=True)) for line in lines]


def test_training_loss_shows_every_step_its_running_mean_and_the_validation_loss():
    number, loss = np.arange(1, 81), np.arange(80.0, 0, -1)
    table = Steps(number, loss, loss + 0.5, loss)
    run = example(epochs=2)
    epochs = [
        epoch.model_copy(update={"val_loss": loss}) for epoch, loss in zip(run.train.epochs, (70, 30), strict=True)
    ]
    figure = figures.training_loss(changed(run, "train", epochs=epochs), table)
    assert line(figure, "each step") == list(zip(number, loss, strict=True))
    assert line(figure, "running mean") == list(zip(number, loss + 0.5, strict=True))
    assert line(figure, "validation") == [(40, 70), (80, 30)]
    assert legend(figure) == ["each step", "running mean", "validation, every epoch"]
    assert note(figure) == "80 steps, 2 epochs"
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("step", "loss (cross-entropy, nats)")
    assert figure.axes[0].get_ylim()[0] == 0
    assert figure.axes[0].get_ylim()[1] > 80


def test_train_vs_test_accuracy_shows_both_histories_the_best_epoch_and_the_test_line():
    run = example()
    accuracies = ((0.5, 0.45), (0.7, 0.8), (0.9, 0.75))
    epochs = [
        epoch.model_copy(update={"train_accuracy": train, "val_accuracy": validation})
        for epoch, (train, validation) in zip(run.train.epochs, accuracies, strict=True)
    ]
    run = changed(changed(run, "train", epochs=epochs, best_epoch=2), "test", accuracy=0.815)
    figure = figures.train_vs_test_accuracy(run)
    assert line(figure, "training") == [(1, 0.5), (2, 0.7), (3, 0.9)]
    assert line(figure, "validation") == [(1, 0.45), (2, 0.8), (3, 0.75)]
    assert line(figure, "best epoch") == [(2, 0.8)]
    assert legend(figure) == ["training", "validation", "best epoch: 2 (80.0 %)"]
    (test,) = [line for line in figure.axes[0].lines if list(line.get_ydata()) == [0.815, 0.815]]
    assert list(test.get_xdata()) == [0, 1], "from one edge of the axes to the other"
    assert texts(figure) == ["test\n81.5 %"]
    assert figure.axes[0].get_ylim()[0] == pytest.approx(0.4)


def test_the_original_projects_figures():
    run = original()
    per_class = figures.per_class(run, "recall")
    assert texts(per_class) == ["33.0 %", "55.9 %", "77.3 %", "93.3 %"]
    assert [bar.get_width() for bar in per_class.axes[0].patches] == ORIGINAL_RECALLS
    assert tick_labels(per_class.axes[0].yaxis) == [
        "glioma (300)", "meningioma (306)", "notumor (405)", "pituitary (300)",
    ]  # fmt: skip
    assert per_class.axes[0].get_xlabel() == "sensitivity (share of the class's scans)"

    matrix = figures.confusion_matrix(run)
    assert [text for text in texts(matrix) if "%" not in text] == [str(count) for count in ORIGINAL.ravel()]
    assert [text for text in texts(matrix) if "%" in text] == texts(per_class), "the diagonal has the sensitivity"
    assert tick_labels(matrix.axes[0].xaxis) == CLASSES
    assert matrix.axes[0].get_ylabel() == "reference standard (number of scans)"
    (image,) = matrix.axes[0].images
    assert np.allclose(image.get_array(), ORIGINAL / ORIGINAL.sum(axis=1, keepdims=True))


def limits(run: Run, score: str, places: Iterable[int]) -> list:
    """The whiskers of a score of the classes in these places."""
    found = [(place, run.intervals.find(score, CLASSES[place])) for place in places]
    return [[(each.low, place), (each.high, place)] for place, each in found]


def test_bars_carry_the_intervals_of_their_own_score_and_numbers_stand_beside_them():
    run = example(names=CLASSES)
    records = [
        row.model_copy(update={"low": None, "high": None})
        if (row.score, row.class_name) == ("recall", "notumor")
        else row
        for row in run.intervals.intervals
    ]
    run = changed(run, "intervals", intervals=records)
    sensitivity = figures.per_class(run, "recall")
    assert np.allclose(whiskers(sensitivity), limits(run, "recall", (0, 1, 3)))
    places = [text.xy[0] for text in sensitivity.axes[0].texts[1:]]
    recalls = [run.intervals.find("recall", name) for name in CLASSES]
    assert places == pytest.approx([each.high or each.value for each in recalls])
    assert note(sensitivity) == "Accuracy over all classes: 92.5 % of 320 test scans.\nLines are 95 % intervals"
    f1 = figures.per_class(run, "f1")
    assert np.allclose(whiskers(f1), limits(run, "f1", range(4)))
    assert texts(f1) == ["0.925"] * 4
    assert note(f1).startswith("Mean over the classes (macro F1): 0.925.")
    assert f1.axes[0].get_xlim() == (0, 1) and {bar.get_x() for bar in f1.axes[0].patches} == {0}


def test_what_is_not_defined_is_said_and_not_drawn_as_zero():
    run = degenerate()["nothing is defined"]
    assert texts(figures.per_class(run, "recall")) == ["not defined", "0.0 %", "not defined"]
    assert texts(figures.per_class(run, "f1")) == ["not defined", "0.000", "0.000"]
    assert note(figures.per_class(run, "f1")).startswith("Mean over the classes (macro F1): not defined")
    assert texts(figures.confusion_matrix(run))[:2] == ["0", "–"]


def test_a_name_with_dollar_signs_is_not_a_formula(tmp_path):
    figure = figures.per_class(example(names=["$a_b$", "$\\no$"], negative=None), "recall")
    figures.save(figure, tmp_path / "figure.png")
    assert not any(label.get_parse_math() for label in figure.axes[0].get_yticklabels())


def test_reliability_shows_accuracy_by_confidence_with_and_without_temperature_and_the_scans_of_each_bin():
    run = example()
    figure, rows, found = figures.reliability(run), run.test.reliability, run.test.calibration
    filled = [row for row in rows if row.scans]
    assert len(filled) > 3
    assert line(figure, "with temperature") == [(row.confidence, row.accuracy) for row in filled]
    before = [(row.confidence_before, row.accuracy_before) for row in rows if row.scans_before]
    assert line(figure, "without temperature") == before
    assert line(figure, "perfectly") == [(0, 0), (1, 1)]
    drawn = [collection.get_segments()[0].tolist() for collection in figure.axes[0].collections]
    assert drawn == [[[row.confidence, row.low], [row.confidence, row.high]] for row in filled]
    counts = {round(15 * bar.get_center()[0] - 0.5): bar.get_height() for bar in figure.axes[1].patches}
    assert counts == {place: row.scans for place, row in enumerate(rows)}
    eces = f"{found.ece:.3f} with temperature, {found.ece_before:.3f} without,"
    assert f"(ECE): {eces}\nand {found.ece_if_calibrated:.3f} by chance if perfectly" in note(figure)


def test_accuracy_by_similarity_gives_no_number_for_few_distinct_scans():
    rows = [(0, 0, None), (1, 1, 1.0), (35, 29, 0.5), (1035, 30, 0.6), (40, 40, 1.0), (160, 160, 0.91)]
    bins = [
        each.model_copy(update={"scans": scans, "distinct": distinct, "accuracy": accuracy, "low": low, "high": high})
        for each, (scans, distinct, accuracy) in zip(example().test.similarity, rows, strict=True)
        for low, high in [(accuracy - 0.05, accuracy + 0.05) if scans > 1 else (None, None)]
    ]
    figure = figures.accuracy_by_similarity(changed(example(), "test", similarity=bins))
    assert texts(figure) == ["60.0 %", "100.0 %", "91.0 %"]
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots] == [
        (1, 1.0), (2, 0.5), (3, 0.6), (4, 1.0), (5, 0.91),
    ]  # fmt: skip
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [True, True, False, False, False]
    assert np.allclose(whiskers(figure)[0], [(2, 0.45), (2, 0.55)]), "a single scan has no interval"
    labels = tick_labels(figure.axes[0].xaxis)
    assert labels[:2] == ["below 0.7\n0 scans\n0 distinct", "0.7 to 0.8\n1 scan\n1 distinct"]
    assert labels[-1] == "0.98 to 1\n160 scans\n160 distinct"
    assert "fewer than 30 distinct scans" in note(figure)


def test_exposure_draws_what_has_a_number_class_by_class_with_the_scans_beside_it():
    run = example(names=CLASSES, leaks="keep")
    figure, rows = figures.exposure(run), [row for row in run.test.exposure if row.accuracy is not None]
    assert sorted(texts(figure)) == sorted(f"{percent(row.accuracy)} of {row.scans}" for row in rows)
    assert tick_labels(figure.axes[0].yaxis) == [*CLASSES, "all classes"]
    assert legend(figure) == [
        "a copy was seen", "only the patient was seen", "neither was seen", "no copy seen, patient unknown",
    ]  # fmt: skip
    assert [x for x, _ in line(figure, "a copy")] == pytest.approx([29 / 35] * 5)
    assert [x for x, _ in line(figure, "only the patient")] == [1.0], "of one class there are fewer than 30"
    assert sorted(low for (low, _), _ in whiskers(figure)) == pytest.approx(sorted(row.low for row in rows))
    copies, patients, _, unknown = (line(figure, name)[-1][1] for name in legend(figure))
    assert copies < patients < unknown, "the kinds of one class from top to bottom"


def test_external_shows_the_internal_test_set_first_and_of_each_set_what_was_kept_and_what_was_left_out():
    run = example()
    (other,) = run.external.sets
    nothing = dict.fromkeys(("accuracy", "low", "high", "accuracy_of_dropped"))
    third = other.model_copy(update={"set": "third", **nothing})
    figure = figures.external(changed(run, "external", sets=[other, third]))
    assert tick_labels(figure.axes[0].yaxis) == [
        "internal test\n160 scans", "other_scanner\n90 kept, 10 left out", "third\n90 kept, 10 left out",
    ]  # fmt: skip
    assert line(figure, "kept") == [(0.925, 0), (0.7, 1)]
    assert line(figure, "copies") == [(other.accuracy_of_dropped, 1.25)]
    assert texts(figure) == ["92.5 %", "70.0 %", percent(other.accuracy_of_dropped)]
    inside = run.intervals.find("accuracy")
    assert np.allclose(
        whiskers(figure), [[(each.low, place), (each.high, place)] for place, each in enumerate((inside, other))]
    )


def test_roc_has_the_curve_its_band_and_the_operating_points():
    run = example()
    figure = figures.roc(run.test.tumour)
    curve = run.test.tumour.roc
    assert line(figure, "this model") == [(each.false_alarms, each.sensitivity) for each in curve]
    point = run.test.tumour.operating_points[0]
    label = f"set for 95.0 %: sensitivity {percent(point.sensitivity)}, specificity {percent(point.specificity)}"
    assert line(figure, label) == [(1 - point.specificity, point.sensitivity)]
    assert line(figure, "by chance") == [(0, 0), (1, 1)]
    (band,) = figure.axes[0].collections
    corners = {tuple(point) for point in band.get_paths()[0].vertices.round(9).tolist()}
    known = [each for each in curve if each.low]  # a band that begins at 0 tells nothing, and is not drawn
    assert 0 < len(known) < len(curve)
    assert all(
        (round(each.false_alarms, 9), round(end, 9)) in corners for each in known for end in (each.low, each.high)
    )
    assert min(x for x, _ in corners) == known[0].false_alarms
    assert note(figure).startswith(f"Area under the curve: {run.test.tumour.auroc:.3f} (")
    assert f"Below {percent(known[0].false_alarms)} false alarms: too few healthy scans" in note(figure)


def test_risk_coverage_shows_the_errors_among_the_most_confident_answers():
    run = example()
    figure = figures.risk_coverage(run)
    (drawn,) = figure.axes[0].lines
    curve = run.test.risk_coverage
    rows = curve.rows
    assert list(zip(*drawn.get_data(), strict=True)) == [(row.coverage, row.risk) for row in rows]
    assert note(figure) == f"Area under the curve: {curve.area:.3f} (95 % interval {curve.low:.3f} to {curve.high:.3f})"
    perfect = [row.model_copy(update={"risk": 0.0}) for row in rows]
    run = changed(run, "test", risk_coverage=curve.model_copy(update={"rows": perfect}))
    assert figures.risk_coverage(run).axes[0].get_ylim()[1] > 0


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of an RGB colour (WCAG 2.2)."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour[:3]]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_numbers_can_be_read_on_every_colour_of_the_confusion_matrix():
    names = [f"class {index:02}" for index in range(12)]
    confusion = np.array([[index * 9, 99 - index * 9, *[0] * 10] for index in range(12)])
    figure = figures.confusion_matrix(with_classes(confusion, names, [0.5] * 12))
    for text in [text for text in figure.axes[0].texts if isinstance(text, Annotation)][1:]:
        share = confusion[text.xy[1], text.xy[0]] / 99
        ink = 1.0 if text.get_color() == "white" else 0.0
        lighter, darker = sorted((luminance(figures.PAPER_TO_INK(share)) + 0.05, ink + 0.05), reverse=True)
        assert lighter / darker >= 4.5


def test_copy_matches_counts_scans_with_and_without_a_copy_by_their_best_match():
    bins = [MatchBin(lower=low, upper=high, copies=copies, others=others) for low, high, copies, others in (
        (-1.0, 0.8, 2, 700), (0.8, 0.9, 0, 30), (0.9, 1.0, 60, 5),
    )]  # fmt: skip
    figure = figures.copy_matches(changed(example(), "data", best_matches=bins))
    without, copies = [[bar.get_height() for bar in bars] for bars in figure.axes[0].containers]
    assert (without, copies) == ([700, 30, 5], [2, 0, 60])
    places = [bar.get_x() for bar in figure.axes[0].containers[0]]
    assert places[1:] == [0.8, 0.9]
    assert places[0] < 0.8 - 0.1, "what is less alike stands apart"
    assert tick_labels(figure.axes[0].xaxis)[0] == "below\n0.8"
    assert legend(figure) == ["threshold 0.98", "no copy", "has a copy"]
    assert list(figure.axes[0].lines[0].get_xdata()) == [0.98, 0.98]
    assert note(figure) == "400 files, 330 distinct scans"
    assert figure.axes[0].get_yscale() == "symlog"


@pytest.mark.parametrize("colour", [False, True])
def test_leaked_pairs_shows_each_test_scan_above_its_training_scan_with_kind_and_correlation(colour):
    examples = [
        CopyExample(a=3, b=7, kind="exact", correlation=1.0, class_name="glioma"),
        CopyExample(a=2, b=4, kind="mirrored", correlation=0.99998, class_name="meningioma / notumor"),
        CopyExample(a=1, b=6, kind="upside_down", correlation=0.9812, class_name="notumor"),
    ]
    scans, run = pixels(8, colour), changed(example(), "data", examples=examples)
    (axes,) = figures.leaked_pairs(run, scans).axes
    assert all(
        (image.get_array() == scans[row]).all() for image, row in zip(axes.images, [3, 2, 1, 7, 4, 6], strict=True)
    )
    tops = [round(image.get_extent()[3], 2) for image in axes.images]
    assert tops[0] < tops[3] and len(set(tops[:3])) == len(set(tops[3:])) == 1
    words = [text.get_text() for text in axes.texts[1:] if text.get_text()]
    kinds = ["exact\n1.000", "mirrored\n0.999", "upside down\n0.981"]
    assert words == [*kinds, "glioma", "meningioma /\nnotumor", "notumor"]
    assert "Training" in axes.get_title("left")
    (many,) = figures.leaked_pairs(example(), pixels(16)).axes
    assert len(many.images) == 16 and len({image.get_extent()[3] for image in many.images}) == 4, "in two rows of pairs"
    assert "Training" not in figures.leaked_pairs(changed(run, "data", test_scans=0), scans).axes[0].get_title("left")


def test_leaked_share_gives_test_scans_by_copy_by_patient_alone_and_the_rest():
    run = example(names=["a", "b", "c"], negative="a")
    rows = [
        row.model_copy(update={"test": test, "leaked": leaked, "patient_leaked": patient})
        for row, (test, leaked, patient) in zip(run.data.classes, ((8, 4, 3), (2, 0, 1), (0, 0, 0)), strict=True)
    ]
    totals = {"test_scans": 10, "leaked_test_scans": 4, "patient_leaked_test_scans": 4}
    figure = figures.leaked_share(changed(run, "data", classes=rows, **totals))
    assert texts(figure) == ["4 + 3 of 8", "0 + 1 of 2", "0 + 0 of 0"]
    bars = [[(bar.get_x(), bar.get_width()) for bar in part] for part in figure.axes[0].containers]
    assert bars == [[(0, 4), (0, 0), (0, 0)], [(4, 3), (0, 1), (0, 0)], [(7, 1), (1, 1), (0, 0)]]
    assert legend(figure) == ["copy in Training", "only the patient in Training", "neither known"]
    assert tick_labels(figure.axes[0].yaxis) == ["a", "b", "c"]
    assert note(figure) == "4 by a copy, 4 by the patient alone,\nof 10 published test scans"


def test_the_map_rings_mistakes_and_names_the_share_of_each_axis():
    axes = figures.embedding_map(example(), tables().embedding).axes[0]
    assert axes.get_xlabel() == "first component (41.0 % of the variance)"
    assert axes.get_ylabel() == "second component (22.0 % of the variance)"
    *by_class, rings = axes.collections
    assert [len(each.get_offsets()) for each in by_class] == [8, 4, 8, 4], "training and test scans of each class"
    assert rings.get_offsets().tolist() == [[np.sin(3), np.cos(3)]]


def test_a_run_gets_the_figures_that_it_has_something_for():
    def drawn(run: Run) -> set[str]:
        return set(figures.draw(run, tables(), pixels(16)))

    every = drawn(example())
    assert len(every) == 15
    shown = set(explanations.draw(example().explain, examples(), maps(), pixels(16)))
    assert every | shown == set(passages("alt.jinja", example())), "each has an alternative text"
    assert every - drawn(example(published=False)) == {"leaked_share"}
    assert every - drawn(example(leaked=0)) == {"leaked_pairs"}
    assert every - drawn(example(negative=None)) == {"roc"}
    assert every - drawn(example(patients="none")) == {"exposure"}, "nothing is known of what was seen"
    assert every - drawn(changed(example(), "external", sets=[])) == {"external"}


LONG_NAMES = [
    "acute disseminated encephalomyelitis", "glioblastoma - IDH wildtype - grade 4", "no_tumour_at_all", "b",
    "oligodendroglioma_with_1p19q_codeletion", "pituitary", "class 0", "class 1",
]  # fmt: skip
RUNS = {
    "two long names": example(names=LONG_NAMES[:2], negative=None, leaks="keep", source="phantom"),
    "eight classes": example(names=LONG_NAMES, negative=None, leaks="keep"),
    "nothing is defined": degenerate()["nothing is defined"],
}


def boxes(figure: Figure) -> Mapping[Text, object]:
    """Where every text is, in pixels; without slanted labels, whose boxes are larger than they are."""
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    for axes in figure.axes:
        # Ticks outside the limits have labels that are not drawn.
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            outside = [
                tick for tick in axis.get_major_ticks() if not min(low, high) <= tick.get_loc() <= max(low, high)
            ]
            hidden = {label for tick in outside for label in (tick.label1, tick.label2)}
            found = [text for text in found if text not in hidden]
    return {text: text.get_window_extent() for text in found if text.get_rotation() in (0, 90)}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_no_text_of_a_figure_overlaps_another_or_leaves_the_figure(name, tmp_path):
    run = RUNS[name]
    names = [row.class_name for row in run.test.classes]
    for figure in figures.draw(run, tables(len(run.train.epochs), names), pixels(16)).values():
        figures.save(figure, tmp_path / "figure.png")
        figure.draw_without_rendering()
        found = boxes(figure)
        left, bottom, right, top = np.array([box.extents for box in found.values()]).T
        # Half a pixel of touching is not an overlap.
        apart = (left[:, None] + 1 > right) | (bottom[:, None] + 1 > top)
        overlapping = np.argwhere(np.triu(~(apart | apart.T), k=1))
        assert not [[list(found)[place].get_text() for place in pair] for pair in overlapping]
        image = np.asarray(Image.open(tmp_path / "figure.png").convert("L"))
        border = np.concatenate([image[:8].ravel(), image[-8:].ravel(), image[:, :8].ravel(), image[:, -8:].ravel()])
        assert len(set(border.tolist())) == 1, "nothing is cut off at the edge"
        assert min(text.get_fontsize() for text in found) >= 9
        if len(figure.axes) == 1:
            assert figure.axes[0].get_position().width > 0.45, "names leave room for what is drawn"


def test_the_same_figure_gives_the_same_bytes_and_says_nothing_of_when_and_by_what(tmp_path):
    figures.save(figures.confusion_matrix(original()), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == figures.png(figures.confusion_matrix(original()))
    with Image.open(tmp_path / "a.png") as image:
        assert set(image.info) == {"dpi"}
        assert min(image.size) >= 700


def test_scans_are_shown_with_no_more_pixels_than_they_have():
    tile = figures.Tile(np.zeros((224, 224), np.uint8), "above")
    with Image.open(io.BytesIO(figures.png(figures.montage("title", "note", [4 * [tile]])))) as image:
        assert 4 * 150 < image.width < 4 * 224
