"""Serve a page on which you drop a scan and see the answer of the model, its probability, and why.

Only this computer can open the page, and only at the address that is printed: it holds a token, a new one each time.
A scan stays in memory until it is answered; nothing is stored, and nothing is sent to the network. If data/scans has
the test scans of the model, you can try them too. Ctrl-C ends it. For research, not for diagnosis.
"""

import argparse
import re
from pathlib import Path

from trueslice.files import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="DIR", type=Path, default=Path("models/released"), help="a released model")
    add_port(parser)


def add_port(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the port."""
    parser.add_argument("--port", metavar="N", type=_port, default=8000, help="port of 127.0.0.1; 0 takes a free one")


def run(options: argparse.Namespace) -> None:
    from trueslice.serve.server import Server

    # Listen before loading, which takes seconds: the port may be in use.
    server = Server(options.port)
    from trueslice import Classifier
    from trueslice.serve.answers import Answers
    from trueslice.serve.pictures import Pictures

    classifier = Classifier.load(options.model)
    answers = Answers(classifier, Pictures(classifier.reference, Path("data/scans")))
    print(f"{printable(options.model)} answers at {server.address}")
    print("For research, not for diagnosis. Nothing is kept. Ctrl-C ends it.", flush=True)
    server.run(answers)


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a port: a whole number from 0 to 65535")
    return int(text)
