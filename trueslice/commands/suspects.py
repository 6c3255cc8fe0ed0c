r"""Rank the scans whose labels may be wrong, the most suspect first.

Three things speak against a label: the source gives the scan another class; a copy of it is under another class; or
models that were not trained on it give the label a low probability (confident learning, Northcutt et al. 2021). The
last one needs predictions of all folds, to judge every scan once:

  trueslice suspects                       the run in this folder
  trueslice suspects F1 F2 F3 F4 F5        five folds, as for trueslice pool
  trueslice suspects a.csv b.csv -o s.csv  files like plots/predictions.csv

It is a list to look at, and no proof: `trueslice review` shows the pictures and takes your decisions.
"""

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trueslice.commands.text import WIDTH, aligned, paragraph
from trueslice.errors import UserError
from trueslice.files import printable, whole_file

if TYPE_CHECKING:
    from trueslice.tables.predictions import Predictions
    from trueslice.tables.scans import Scans
    from trueslice.tables.suspects import Suspects

SCANS = Path("data/scans")
SHOWN = 20  # labels on the terminal
EXPLAINED = (
    "% sure: how probable the class is to models that were not trained on the scan. files: copies under this class, "
    "which are judged as one. `trueslice review` shows their pictures."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_runs(parser)
    parser.add_argument("-o", "--output", metavar="CSV", type=Path, help="write all scans, ranked, there")


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names runs or files of predictions."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", default=["workspace"], help="runs, or CSV files of predictions"
    )


def run(options: argparse.Namespace) -> None:
    # Opened first, so that the work doesn't end at a folder that can't be written to.
    with whole_file(options.output) if options.output else nullcontext() as new:
        scans, found = read(options.runs)
        if new:
            new.write_text(found.text(), encoding="utf-8", newline="")
    _print(scans, found)
    if options.output:
        print(printable(f"Written to {options.output}"))


def read(runs: Sequence[str]) -> tuple["Scans", "Suspects"]:
    """Read the scans of this folder, and rank them by the predictions of runs or files."""
    from trueslice.evaluate import suspects
    from trueslice.tables.scans import Scans

    try:
        scans = Scans.read(SCANS / "scans.csv")
    except OSError as error:
        problem = f"{SCANS}/scans.csv cannot be read: {error.strerror}"
        raise UserError(f"{problem}; run the pipeline in this folder first") from None
    return scans, suspects.rank(scans, *suspects.mean_probabilities(scans, predictions(runs)))


def predictions(runs: Sequence[str]) -> list["Predictions"]:
    """Read the predictions of runs, by their revisions or names, or of CSV files."""
    from trueslice.tables.predictions import Predictions

    files = [name for name in runs if name.endswith(".csv")]
    tables = []
    for name in files:
        try:
            tables.append(Predictions.read(Path(name)))
        except OSError as error:
            raise UserError(f"{printable(name)} cannot be read: {error.strerror}") from None
    if len(files) < len(runs):
        from trueslice.commands.revisions import read_predictions  # it imports DVC, which takes seconds

        tables += read_predictions([name for name in runs if name not in files]).values()
    return tables


def _print(scans: "Scans", found: "Suspects") -> None:
    _, first = np.unique(found.rank, return_index=True)
    items, files = found.take(first[:SHOWN]), np.bincount(found.rank)
    judged = int((~np.isnan(found.confidence)).sum())
    print(f"{judged:,} of {len(scans):,} scans have a prediction by a model that was not trained on a copy")
    columns = {
        "rank": items.rank,
        "class": items.class_name,
        "perhaps": items.suggested,
        "evidence": items.evidence,
        "% sure": ["-" if np.isnan(sure) else f"{100 * sure:.1f}" for sure in items.confidence.tolist()],
        "files": files[items.rank],
    }
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    lines = aligned([[*map(str, row), "|"] for row in rows], "><<<>><").splitlines()
    for line, path in zip(lines, ["scan", *items.path.tolist()], strict=True):
        print(line.removesuffix("|") + printable(_short(path, WIDTH + 1 - len(line))))
    print(f"\n{paragraph(EXPLAINED)}")


def _short(path: str, room: int) -> str:
    """Return the end of a path that is too long."""
    return path if len(path) <= room else f"…{path[len(path) + 1 - room :]}"
