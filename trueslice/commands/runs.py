"""List the committed run and all experiments: scores, and the parameters in which they differ from the last commit.

Accuracy is that of the test scans with its 95 % interval, in per cent; baseline is that of the best baseline. A run
without scores of its own has dashes: it has not finished, ended before the stage `evaluate`, or its parameters have
changed since. The experiments of other commits than the last are listed too.
"""

import argparse
import textwrap
from collections.abc import Mapping
from typing import NamedTuple

from dvc.repo import Repo
from dvc.repo.experiments.serialize import ExpState
from dvc.repo.experiments.show import show

from trueslice.commands.making import texts
from trueslice.commands.revisions import PREDICTING, StageRun, has_run, is_stale, opened, read_lock, read_text
from trueslice.commands.text import WIDTH, aligned
from trueslice.files import printable
from trueslice.params import flat

SCORING = (*PREDICTING, "evaluate")
HEADING = ("run", "state", "accuracy", "95 % interval", "baseline")


class Row(NamedTuple):
    """A run as DVC shows it."""

    name: str
    state: str  # finished, queued, running, failed, or changed: with other parameters than those that ran
    settings: Mapping[str, object]  # parameters by their dotted names
    summary: Mapping[str, float | None]  # metrics/summary.json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add none."""


def run(_: argparse.Namespace) -> None:
    with opened("workspace", "the experiments") as repo:
        workspace, head, *experiments = _rows(repo)
    rows = [head, *experiments]
    if (workspace.settings, workspace.summary) not in [(row.settings, row.summary) for row in rows]:
        rows.insert(0, workspace)
    heading, *lines = aligned([HEADING, *map(_cells, rows)], "<<>>>").splitlines()
    print(heading)
    for row, line in zip(rows, lines, strict=True):
        names = sorted({**head.settings, **row.settings})
        values = [
            f"{name}={row.settings.get(name)}" for name in names if row.settings.get(name) != head.settings.get(name)
        ]
        text = printable("  ".join(values))
        print("\n".join([line, *textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")]))


def _rows(repo: Repo) -> list[Row]:
    """Read the files as they are, HEAD, and all experiments."""
    head = repo.scm.get_rev()
    commits = dict.fromkeys([head, *repo.experiments.ls(all_commits=True)])
    workspace, *found = show(repo, revs=list(commits))
    states = [("workspace", "finished", workspace)]
    states += [("HEAD", "finished", state) for state in found if state.rev == head]
    for experiment in [each for state in found for each in state.experiments or []]:
        state = experiment.executor.state.lower().replace("success", "finished") if experiment.executor else "finished"
        states.append((experiment.name or experiment.revs[0].rev[:7], state, experiment.revs[0]))
    here = read_text("workspace", "dvc.lock", missing="")
    locks = [here, *texts(repo.root_dir, "dvc.lock", [state.rev for _, _, state in states[1:]])]
    return [_row(*state, read_lock(state[0], lock)) for state, lock in zip(states, locks, strict=True)]


def _row(name: str, state: str, shown: ExpState, lock: Mapping[str, StageRun]) -> Row:
    params, metrics = (shown.data.params, shown.data.metrics) if shown.data else ({}, {})
    settings = flat(params.get("params.yaml", {}).get("data") or {})
    if state == "finished" and not has_run(lock, settings, SCORING):
        state = "changed"
    is_own = state == "finished" and not is_stale(lock, SCORING)
    return Row(name, state, settings, (is_own and metrics.get("metrics/summary.json", {}).get("data")) or {})


def _cells(row: Row) -> tuple[str, ...]:
    accuracy, low, high, baseline = (_percent(row.summary.get(key)) for key in ("accuracy", "low", "high", "baseline"))
    return row.name, row.state, accuracy, f"{low} to {high}" if row.summary.get("low") is not None else "-", baseline


def _percent(value: object) -> str:
    return f"{100 * value:.1f}" if isinstance(value, (int, float)) else "-"
