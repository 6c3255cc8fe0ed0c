"""The templates of this folder, and the words and filters that all of them know."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from trueslice.records.test import MIN_DISTINCT
from trueslice.report import format as written
from trueslice.report.run import BUILT_IN, EXPOSURES, Run

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=lambda name: name is not None and name.endswith(".html"),
    undefined=StrictUndefined,
    finalize=lambda value: written.NOT_DEFINED if value is None else value,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
FILTERS = ("percent", "points", "signed", "number", "score", "interval", "with_interval", "counted", "listed")
TEMPLATES.filters.update({name: getattr(written, name) for name in FILTERS})
TEMPLATES.globals |= {"EXPOSURES": EXPOSURES, "BUILT_IN": BUILT_IN, "MIN_DISTINCT": MIN_DISTINCT}
TEMPLATES.globals |= {"TOO_NARROW": written.TOO_NARROW} | vars(TEMPLATES.get_template("macros.jinja").module)


def render(template: str, run: Run, **more: Any) -> str:
    """Fill a template of this folder; it knows the run as `run`, its records by their names, and `more`."""
    return TEMPLATES.get_template(template).render(vars(run) | {"run": run} | more)


def passages(template: str, run: Run) -> dict[str, str]:
    """Fill each block of a template by itself: plain text on one line by name; empty if there is nothing to say."""
    found = TEMPLATES.get_template(template)
    context = found.new_context(vars(run) | {"run": run})
    return {name: " ".join("".join(block(context)).split()) for name, block in found.blocks.items()}
