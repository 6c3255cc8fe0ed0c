"""The figures of explanations, and of scans that are worth a closer look."""

import numpy as np
import pytest

from trueslice.evaluate.explanations import COLUMNS
from trueslice.report import explanations
from trueslice.report.overlay import overlay
from trueslice.report.page import CAPTIONS
from trueslice.tables.examples import Examples

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (9, 32, 32), dtype=np.uint8)
MAPS = np.stack([RNG.integers(0, 256, (6, 16, 16)), np.zeros((6, 16, 16))], axis=1).astype(np.uint8)
MAPS[:, 1, 4:8, 4:8] = 255


def measured(shown: bool, scans: int = 40) -> dict:
    rows = [
        {"by": "all", "value_of": None, "score": "pointing", "of": of, "value": 0.1 * place, "low": None, "high": None}
        for place, of in enumerate(COLUMNS)
    ]
    return {"scans": scans, "shown": shown, "rows": rows if scans else []}


def examples() -> Examples:
    rows = np.arange(6)
    return Examples(
        kind=np.array(["mistake", "mistake", "hit", "hit", "example", "example"]),
        row=rows,
        scan=rows,
        nearest_1=np.full(6, 6),
        nearest_2=np.full(6, 7),
        nearest_3=np.full(6, 8),
        class_name=np.full(6, "glioma"),
        predicted=np.array(["notumor", "notumor", "glioma", "glioma", "glioma", "notumor"]),
        probability=np.full(6, 0.5),
    )


def test_maps_are_drawn_only_where_they_are_worth_it():
    shown = explanations.draw(measured(True), examples(), MAPS, PIXELS)
    hidden = explanations.draw(measured(False), examples(), MAPS, PIXELS)
    assert set(shown) == {"explanation_worth", "explanations", "closer_look"} and set(shown) <= set(CAPTIONS)
    assert set(hidden) == {"explanation_worth", "closer_look"}
    assert len(shown["closer_look"].axes) == 4 * 5 and len(hidden["closer_look"].axes) == 4 * 4
    assert all(len(axes.images) == 1 for axes in hidden["closer_look"].axes)
    assert set(explanations.draw(measured(False, 0), examples(), MAPS, PIXELS)) == {"closer_look"}


def test_every_comparison_has_words():
    assert set(explanations.WORDS) == set(COLUMNS)


@pytest.mark.parametrize("pixels", [PIXELS[0], np.repeat(PIXELS[0][..., None], 3, axis=2)], ids=["grey", "colour"])
def test_an_overlay_has_scan_map_colour_bar_and_outline(pixels: np.ndarray):
    figure = overlay(pixels, MAPS[0, 0] / 255, MAPS[0, 1] > 0)
    plain, covered, bar = figure.axes
    assert len(plain.images) == 1 and len(covered.images) == 2 and len(covered.collections) == 1
    assert "influence" in bar.get_ylabel()
    extent = covered.collections[0].get_paths()[0].get_extents()
    assert (extent.x0, extent.x1) == pytest.approx((8, 16), abs=1), "4 to 8 of 16 is 8 to 16 of 32"
    assert not overlay(pixels, MAPS[0, 0] / 255).axes[1].collections
