"""Serve a page to go through suspect labels and doubtful copies, picture by picture, and decide about each.

Labels are ranked as by `trueslice suspects`. Of copies, the pair that each group hangs on is shown, the least similar
first. Each decision is kept at once in the file that `verify.decisions` names, and the next `dvc repro` obeys it.

Only this computer can open the page, and only at the address that is printed. Ctrl-C ends it.
"""

import argparse
from pathlib import Path

from trueslice.commands import settings
from trueslice.commands.serve import add_port
from trueslice.commands.suspects import SCANS, add_runs, read
from trueslice.files import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_runs(parser)
    add_port(parser)


def run(options: argparse.Namespace) -> None:
    from trueslice import params
    from trueslice.serve.review import Desk
    from trueslice.serve.server import Server
    from trueslice.tables.decisions import Decisions

    server = Server(options.port)  # first: the port may be in use
    own = params.load(settings.PARAMS)
    decisions = Path(own.verify.decisions)
    Decisions.read(decisions)  # it may be damaged
    desk = Desk(SCANS, read(options.runs)[1], own.class_names, decisions)
    print(printable(f"{decisions} takes decisions at {server.address}"))
    print("Each is kept at once; dvc repro obeys them. Ctrl-C ends it.", flush=True)
    server.review(desk)
