"""The items of CLAIM 2024, the Checklist for Artificial Intelligence in Medical Imaging, and what a run knows of each.

claim.jinja has their text. A filled row is not compliance.
"""

from typing import NamedTuple

from trueslice.report.run import Run
from trueslice.report.templates import render

UNKNOWN = ("not available in this data set", "for the authors of a study to say")


class Item(NamedTuple):
    """A row of the checklist."""

    number: int
    part: str
    asked: str
    answer: str  # plain text

    @property
    def known(self) -> bool:
        """True if the run knows the answer."""
        return self.answer not in UNKNOWN


def claim(run: Run) -> list[Item]:
    """Fill the 44 items."""
    lines = [line for line in render("claim.jinja", run).splitlines() if line.strip()]
    return [Item(number, *line.split(" | ", 2)) for number, line in enumerate(lines, start=1)]
