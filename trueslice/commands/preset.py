"""Write the values of a preset into params.yaml, or of several, one after the other.

A preset is a file in presets/: some parameters under their names in params.yaml. Without a name, all are listed.
`git diff params.yaml` shows what has changed, and `git restore params.yaml` takes it back.
"""

import argparse
from pathlib import Path
from typing import Any

from trueslice.commands import settings
from trueslice.commands.text import aligned
from trueslice.errors import UserError
from trueslice.params import flat, read_yaml

PRESETS = Path("presets")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="a file in presets/, without its ending")


def run(options: argparse.Namespace) -> None:
    known = {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}
    if not known:
        raise UserError(f"there is no folder {PRESETS}/ here; start the command in the project's folder")
    if unknown := [name for name in options.names if name not in known]:
        raise UserError(f"there is no preset {unknown[0]}; choose from {', '.join(known)}")
    if not options.names:
        titles = [(name, _text(path).partition("\n")[0].removeprefix("# ")) for name, path in known.items()]
        print(aligned(titles, "<<"))
        return
    values: dict[str, Any] = {}
    for name in options.names:
        values |= _values(known[name])
    changed = settings.change(values)
    if not changed:
        print("params.yaml has all these values already")
        return
    print(aligned([(key, before, "→", after) for key, (before, after) in changed.items()], "<<<<"))
    print("Next: dvc repro")


def _values(path: Path) -> dict[str, Any]:
    try:
        return flat(read_yaml(_text(path)))
    except ValueError as error:
        raise UserError(f"{path} is {error}") from None
    except AttributeError:
        raise UserError(f"{path} holds no parameters; write some, or delete it") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as such, or delete it") from None
