"""Figures of explanations: drawn only where they are worth it."""

import numpy as np
import pytest

from tests.report.example_run import changed, example, examples, maps, pixels
from trueslice.report import explanations
from trueslice.report.overlay import overlay


def test_maps_are_drawn_only_where_they_are_worth_it():
    run = example()
    shown = explanations.draw(run.explain, examples(), maps(), pixels(16))
    assert set(shown) == {"explanation_worth", "explanations", "closer_look"}
    first = shown["closer_look"].axes[:5]
    assert [len(axes.images) for axes in first] == [1, 2, 1, 1, 1], "the scan, its map, and three training scans"
    hidden = explanations.draw(changed(run, "explain", shown=False).explain, examples(), maps(), pixels(16))
    assert set(hidden) == {"explanation_worth", "closer_look"}
    assert all(len(axes.images) == 1 for axes in hidden["closer_look"].axes)
    unknown = changed(run, "explain", scans=0, shown=False, rows=[]).explain
    assert set(explanations.draw(unknown, examples(), maps(), pixels(16))) == {"closer_look"}


def test_worth_has_a_number_for_every_comparison():
    found = example().explain
    axes = explanations.worth(found).axes[0]
    values = {row.of: f"{100 * row.value:.1f} %" for row in found.rows if (row.by, row.score) == ("all", "pointing")}
    assert set(values) == set(explanations.WORDS)
    assert [text.get_text() for text in axes.texts[1:]] == [values[name] for name in explanations.WORDS]


@pytest.mark.parametrize("colour", [False, True])
def test_an_overlay_has_scan_map_colour_bar_and_outline(colour):
    scan, found = pixels(1, colour)[0], maps()[0]
    figure = overlay(scan, found[0] / 255, found[1] > 0)
    plain, covered, bar = figure.axes
    assert len(plain.images) == 1 and len(covered.images) == 2 and len(covered.collections) == 1
    assert "influence" in bar.get_ylabel()
    extent = covered.collections[0].get_paths()[0].get_extents()
    assert (extent.x0, extent.x1) == pytest.approx((10, 22), abs=1), "5 to 11 of 16 is 10 to 22 of 32"
    assert not np.any(overlay(scan, found[0] / 255).axes[1].collections)
