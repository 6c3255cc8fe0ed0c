"""Figures of explanations: drawn only where they are worth it."""

import pytest
from matplotlib.figure import Figure

from tests.report.example_run import changed, example, examples, maps, pixels
from trueslice.report import explanations
from trueslice.report.overlay import draw, overlay


def test_maps_are_drawn_only_where_they_are_worth_it():
    run = example()
    shown = explanations.draw(run.explain, examples(), maps(), pixels(16))
    assert set(shown) == {"explanation_worth", "explanations", "closer_look"}
    assert len(shown["closer_look"].axes[0].images) == 4 * 6, "the scan, again with its map, three training scans"
    assert len(shown["closer_look"].axes[0].collections) == 3, "the outlines of the tumours, of which one has none"
    hidden = explanations.draw(changed(run, "explain", shown=False).explain, examples(), maps(), pixels(16))
    assert set(hidden) == {"explanation_worth", "closer_look"}
    assert len(hidden["closer_look"].axes[0].images) == 4 * 4
    unknown = changed(run, "explain", scans=0, shown=False, rows=[]).explain
    assert set(explanations.draw(unknown, examples(), maps(), pixels(16))) == {"closer_look"}


def test_worth_has_a_number_for_every_comparison():
    found = example().explain
    axes = explanations.worth(found).axes[0]
    values = {row.of: f"{100 * row.value:.1f} %" for row in found.rows if (row.by, row.score) == ("all", "pointing")}
    assert set(values) == set(explanations.WORDS)
    assert [text.get_text() for text in axes.texts[1:]] == [values[name] for name in explanations.WORDS]


@pytest.mark.parametrize("colour", [False, True])
def test_an_overlay_has_scan_map_and_colour_bar(colour):
    plain, covered, bar = overlay(pixels(1, colour)[0], maps()[0, 0] / 255).axes
    assert len(plain.images) == 1 and len(covered.images) == 2
    assert "influence" in bar.get_ylabel()


def test_the_outline_of_a_tumour_is_where_the_mask_is():
    axes = Figure().add_subplot()
    draw(axes, pixels(1)[0], mask=maps()[0, 1] > 0, at=(2, 3))
    box = axes.collections[0].get_paths()[0].get_extents()
    assert (box.x0, box.x1) == pytest.approx((2 + 5 / 16, 2 + 11 / 16), abs=0.04)
    assert (box.y0, box.y1) == pytest.approx((3 + 5 / 16, 3 + 11 / 16), abs=0.04)
