"""The report of a run as one page of HTML, which page.html lays out."""

import base64
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from PIL import Image

from trueslice.params import flat
from trueslice.records.explain import PointingScore
from trueslice.report.checklist import checklist
from trueslice.report.provenance import Drawing
from trueslice.report.run import SECTIONS, Run
from trueslice.report.templates import passages, render

TUMOURS = {"all": "all", "class": "{}", "size": "{} ones", "answer": "answer is {}"}
# Columns of the table of explanations: a map, and a score of it.
POINTING = (("explanation", "pointing"), ("fixed_point", "pointing"), ("explanation", "energy"), ("uniform", "energy"))
# Figures of scans. Their noise would take most of the page if it were kept without loss.
OF_SCANS = ("leaked_pairs", "explanations", "closer_look")


class Picture(NamedTuple):
    """A figure in the page."""

    link: str  # the picture itself, as a data URL
    width: int  # pixels
    height: int


def page(run: Run, figures: Mapping[str, bytes], scans_sha256: str, drawing: Drawing) -> str:
    """Return one page of HTML with all results of a run. It loads nothing: the `figures`, PNG by name, are inside.

    `scans_sha256` of data/scans/scans.csv identifies the data. Only `drawing` may differ between pages of a run.
    """
    html = render(
        "page.html",
        run,
        said=passages("statement.jinja", run),
        alternatives=passages("alt.jinja", run),
        pictures={name: _picture(png, lossless=name not in OF_SCANS) for name, png in figures.items()},
        pointing=dict(_pointing(run)),
        items=checklist(run),
        settings=list(_settings(run)),
        versions=", ".join(f"{name} {version}" for name, version in run.model.versions.items()),
        scans_sha256=scans_sha256,
        drawing=drawing,
    )
    return html.replace(" %", "\N{NO-BREAK SPACE}%")


def _picture(png: bytes, lossless: bool) -> Picture:
    """Encode a figure as WebP."""
    with Image.open(io.BytesIO(png)) as image, io.BytesIO() as file:
        image.convert("RGB").save(file, "WEBP", lossless=lossless, quality=45, method=4)
        link = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
        return Picture(link, *image.size)


def _pointing(run: Run) -> Iterator[tuple[str, list[PointingScore]]]:
    """Yield each kind of tumours with the scores of the columns `POINTING`."""
    found = {(row.by, row.value_of, row.of, row.score): row for row in run.explain.rows}
    for by, value in dict.fromkeys(key[:2] for key in found):
        yield TUMOURS[by].format(value), [found[by, value, *column] for column in POINTING]


def _settings(run: Run) -> Iterable[tuple[str, str]]:
    """Yield all settings that decide the numbers: no devices, and no settings of other sources."""
    for key, setting in flat(run.params.model_dump(mode="json", include=SECTIONS)).items():
        section, *inner = key.split(".")
        is_of_other_source = section == "data" and len(inner) > 1 and inner[0] != run.params.data.source
        if not is_of_other_source and inner[-1:] != ["device"]:
            yield key, setting if isinstance(setting, str) else json.dumps(setting)
