"""The command `trueslice`; each subcommand is a module with `add_arguments(parser)` and `run(options)`."""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from trueslice import ending
from trueslice.errors import ParamsError

# The summary of each command. Its module has the same name.
COMMANDS = {
    "audit": "find the copies in any folder of images, or across two",
    "compare": "test if experiments really differ",
    "export": "the model as one file that runs without PyTorch",
    "init": "fit params.yaml to your own scans",
    "plan": "how wide an interval so many patients give",
    "pool": "one score from all folds, or from several seeds",
    "predict": "classify scans, and say how much each answer is worth",
    "preset": "named values for params.yaml: for a laptop, for CLIP, and others",
    "push": "the model to a repository on the Hugging Face hub, private by default",
    "restore": "a committed run, or an experiment, back into the folder",
    "review": "a page to decide about suspect labels and doubtful copies",
    "runs": "all experiments, with their scores and what they differ in",
    "score": "anybody's predictions, by what their model may have seen",
    "serve": "a page on which one drops a scan and sees the answer",
    "suspects": "scans whose labels may be wrong, the most suspect first",
    "trace": "whose scans they are, by their pictures",
}
DESCRIPTION = """\
Use a trained model, compare, pool and restore runs of the pipeline, and find copies and sources of scans.

A run is a DVC revision (a commit, a branch, a tag), the name of an experiment as `trueslice runs` lists it, or
`workspace` for the files as they are now. Nothing runs again, and only `restore` checks anything out."""
EXAMPLES = """\
examples:
  trueslice audit SCANS OTHER -o audit    which images are in both folders?
  trueslice compare main workspace        is what I have now better than main?
  trueslice compare A1,A2,A3 B1,B2,B3     is method B better? 3 seeds each
  trueslice export onnx                   a graph that runs without PyTorch
  trueslice init ../scans                 params.yaml for my own scans
  trueslice plan                          how many patients do I need?
  trueslice pool F1 F2 F3 F4 F5           what do the five folds say together?
  trueslice predict scan.jpg more/        what are these, and how sure is that?
  trueslice preset kaggle laptop          Kaggle's scans and a small model
  trueslice push somebody/name --dry-run  what would go to the hub?
  trueslice restore                       back to the committed run
  trueslice review F1 F2 F3 F4 F5         decide about suspect labels
  trueslice runs                          what was tried, and what came of it?
  trueslice score mine.csv                what are my own predictions worth?
  trueslice serve                         the same as predict, in the browser
  trueslice suspects F1 F2 F3 F4 F5       which labels may be wrong?
  trueslice trace SCANS                   of which known patients are these?

`trueslice COMMAND --help` says more about each."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that `arguments` name, and report every error that the user can fix in one line.

    Exit status 1 is an error, 2 a wrong argument or parameter, 130 Ctrl-C.
    """
    is_own = arguments is None  # this process runs nothing else
    try:
        if is_own:
            ending.prepare()
        arguments = sys.argv[1:] if arguments is None else arguments
        options = _parser(arguments[:1]).parse_args(arguments)
        ending.check_folders()
        options.run(options)
        sys.stdout.flush()
        if is_own:
            ending.ignore_ctrl_c()
    except KeyboardInterrupt:
        ending.stop()
    except BrokenPipeError:  # the reader (`head`, for example) has seen enough
        ending.drop_output()
    except ModuleNotFoundError as error:
        if not f"{error.name}.".startswith(("dvc.", "dvc_data.")):
            raise
        print("error: this needs DVC; run in the project's folder: pip install '.[pipeline]'", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        print(f"error: {ending.explain(error)}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ParamsError) else 1)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        from trueslice.files import printable

        super().error(printable(message))


class _Layout(argparse.HelpFormatter):
    """Wrap paragraphs at the width of the terminal, and leave lists, whose lines are indented."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip().split("\n\n")
        return "\n\n".join(each if "\n  " in f"\n{each}" else textwrap.fill(each, width) for each in paragraphs)


def _parser(chosen: Sequence[str]) -> argparse.ArgumentParser:
    """Make the parser; import only the `chosen` command, so that --help is quick."""
    parser = _Parser("trueslice", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=_Layout)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, formatter_class=_Layout)
        if name in chosen:
            module = import_module(f"trueslice.commands.{name}")
            command.description = module.__doc__
            command.set_defaults(run=module.run)
            module.add_arguments(command)
    return parser
