"""The items of STARD-AI 2025, which studies of the diagnostic accuracy of an AI report, and what a run knows of each.

checklist.jinja has their text. A filled row is not compliance.
"""

from typing import NamedTuple

from trueslice.report.run import Run
from trueslice.report.templates import render

OPEN = "? "  # begins what no run knows


class Item(NamedTuple):
    """A row of the checklist."""

    number: str  # such as 15a; an item may have several rows
    part: str
    asked: str
    answer: str  # plain text
    known: bool  # True if the run knows the answer


def checklist(run: Run) -> list[Item]:
    """Fill the 40 items."""
    rows = [line.split(" | ", 3) for line in render("checklist.jinja", run).splitlines() if line.strip()]
    return [
        Item(number, part, asked, answer.removeprefix(OPEN), known=not answer.startswith(OPEN))
        for number, part, asked, answer in rows
    ]
