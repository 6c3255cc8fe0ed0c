"""A scan with the map of its prediction over it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

COLOURS = "inferno"
STRENGTH = 0.65  # opacity where the map is highest; a map of 0 leaves the scan as it is
CONTOUR = "#35d0ff"


def overlay(pixels: np.ndarray, heat: np.ndarray) -> Figure:
    """Draw a scan, the same with a map over it, and the map's colour bar; arguments as for `draw`."""
    figure = Figure(figsize=(7.2, 3.3), dpi=150, layout="constrained")
    plain, covered = figure.subplots(1, 2)
    draw(plain, pixels)
    draw(covered, pixels, heat)
    plain.set_title("scan", fontsize=9)
    covered.set_title("where the answer comes from", fontsize=9)
    add_colour_bar(figure, covered)
    return figure


def draw(
    axes: Axes, pixels: np.ndarray, heat: np.ndarray | None = None, mask: np.ndarray | None = None, at=(0.0, 0.0)
) -> None:
    """Draw a scan, with a map and the outline of a mask over it, as a square with sides of 1.

    `pixels` are uint8 [S, S] or [S, S, 3]. Over the whole scan are `heat` from 0 to 1, float [s, s], and `mask`, True
    in the tumour, bool [m, m]. `at` is the left upper corner; y goes down.
    """
    left, top = at
    whole = (left, left + 1, top + 1, top)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=whole)
    if heat is not None:
        shown = np.clip(heat, 0, 1)
        axes.imshow(shown, cmap=COLOURS, vmin=0, vmax=1, alpha=STRENGTH * shown, extent=whole, interpolation="bilinear")
    if mask is not None and mask.any():
        middles = (np.arange(len(mask)) + 0.5) / len(mask)
        axes.contour(left + middles, top + middles, mask, [0.5], colors=CONTOUR, linewidths=1.2)
    axes.set_axis_off()


def add_colour_bar(figure: Figure, axes: Axes) -> Colorbar:
    """Add the colour bar of a map next to `axes`."""
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), COLOURS), ax=axes, shrink=0.85, pad=0.02)
    bar.set_label("influence, relative to the highest in this scan", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return bar
