"""Classify scans with a released model, and show how often similar answers are wrong.

  trueslice predict scan.jpg more/               files, and all in folders
  find . -name '*.png' | trueslice predict -     paths on standard input
  trueslice predict scans/ --format csv > a.csv  a table for `trueslice score`
  trueslice predict scan.jpg --model NAME        the model of an experiment

`wrong` is the share of test scans of a similar probability that were wrong, with its 95 % interval. Warnings follow
below a scan that is a copy of a known one, unlike the training scans (test scans say nothing about it), coloured, or
long and narrow. A model of a run with evaluate.max_error answers `refer` where it is too unsure; `next` is then the
likeliest class.

A file that cannot be read is named, the others are answered, and the exit status is 1. Not for diagnosis.
"""

import argparse
import codecs
import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from itertools import chain
from pathlib import Path

from trueslice.errors import UserError
from trueslice.files import files_in, output_folder, printable
from trueslice.tables.rows import csv_line

MODEL = Path("models/released")
LONGEST_LIST = 3 * 10**7  # bytes on standard input
MIN_PATH = 20  # characters of a path that a narrow terminal shows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="+", help="a scan, a folder of scans, or - for a list of paths")
    of_a_run = "folder of a released model, or a revision or experiment that has one"
    parser.add_argument("--model", default=str(MODEL), help=f"{of_a_run} (default: {MODEL})")
    parser.add_argument("--format", choices=WRITERS, default="table", help="json is one object a line (default: table)")
    parser.add_argument("--explain", metavar="DIR", type=Path, help="write a heat map of each answer there, as a PNG")
    parser.add_argument("--frame", metavar="N", type=_frame, help="of a file with several pictures: a number, or all")


def _frame(text: str) -> int | str:
    if not re.fullmatch("all|[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is neither a number from 1 nor all")
    return text if text == "all" else int(text)


def run(options: argparse.Namespace) -> None:
    files, skipped = find(options.paths)
    unreadable: list[str] = []
    with output_folder(options.explain) if options.explain else nullcontext() as maps:
        folder = _model(options.model)
        from trueslice.inference.classifier import Classifier

        classifier = Classifier.load(folder)
        for note in filter(None, [classifier.caution, classifier.promise]):
            print(f"note: {note}", file=sys.stderr)
        with closing(classifier.stream(files, options.frame)) as stream:
            predictions = _predictions(stream, unreadable)
            if maps:
                predictions = _explained(classifier, predictions, maps)
            WRITERS[options.format](classifier.class_names, predictions)
    sys.stdout.flush()
    if skipped:
        others = printable(f"{len(skipped)} that are not images, such as {skipped[0]}")
        print(f"skipped in folders: {others}", file=sys.stderr)
    if unreadable:
        raise UserError(f"{len(unreadable)} of {len(files)} files gave no answer, see above")


def _predictions(stream: Iterable, unreadable: list[str]) -> Iterator:
    """Yield the predictions; report unreadable files on stderr and add them to the list."""
    from trueslice.inference.classifier import Unreadable

    for each in stream:
        if isinstance(each, Unreadable):
            unreadable.append(each.name)
            sys.stdout.flush()
            print(printable(f"unreadable: {each.name}: {each.reason}"), file=sys.stderr)
        else:
            yield each


def _explained(classifier, predictions: Iterable, folder: Path) -> Iterator:
    """Yield the predictions, each once its heat map is drawn into a numbered file of `folder`."""
    from trueslice.report.figures import save
    from trueslice.report.overlay import overlay

    for number, each in enumerate(predictions, 1):
        name = re.sub(r"[^\w.-]+", "_", Path(each.name).name).encode()[:200].decode(errors="ignore")  # of 255 bytes
        figure = overlay(each.pixels, classifier.explain(each))
        figure.suptitle(f"{each.y_pred} {100 * each.confidence:.1f} %: {name}", fontsize=9, parse_math=False)
        save(figure, folder / f"{number:04}_{name}.png")
        yield each


def find(paths: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Return the files that PATH... names, and those in its folders that are no images; UserError if it holds none."""
    files: list[Path] = []
    skipped: list[Path] = []
    for path in chain.from_iterable(_listed() if each == "-" else [each] for each in paths):
        if not path:
            raise UserError("one of the paths is empty; name a file or a folder")
        if os.path.isdir(path):  # unlike Path's, it raises nothing
            listed, others = _in_folder(Path(path))
            if not listed:
                raise UserError(f"{path} holds no images; give a folder that does")
            skipped += others
        else:
            listed = [Path(path)]
        files += listed
    return files, skipped


def _listed() -> list[str]:
    r"""Return the lines of standard input that are not empty; they end in \n or \r\n, and may be no UTF-8."""
    try:
        if sys.stdin.isatty():
            print("paths, one a line; Ctrl-D ends the list", file=sys.stderr)
        content = sys.stdin.buffer.read(LONGEST_LIST + 1).removeprefix(codecs.BOM_UTF8)
    except (AttributeError, OSError):  # sys.stdin is None
        raise UserError("standard input is closed; write paths there, one a line") from None
    if len(content) > LONGEST_LIST:
        raise UserError(f"standard input has more than {LONGEST_LIST:,} bytes; divide the list")
    if b"\0" in content:
        problem = "standard input holds NUL bytes, as UTF-16 text and the lists of find -print0 do"
        raise UserError(f"{problem}; write one path a line, in UTF-8")
    names = [os.fsdecode(line) for line in content.replace(b"\r\n", b"\n").split(b"\n") if line]
    if not names:
        raise UserError("standard input names no file; write one path a line")
    return names


def _in_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return images and other files in all levels of a folder, sorted by path, without litter.

    What is no file, or cannot be read, may be an image.
    """
    from trueslice.reading.pictures import is_image

    names, unreadable = files_in(folder)
    images = [folder / name for name, _ in unreadable]
    others: list[Path] = []
    for path in [folder / name for name in names]:
        (images if is_image(path) else others).append(path)
    return sorted(images), others


def _model(name: str) -> Path:
    """Return the folder of a model: `name` itself, or a copy of the model of the run with this name."""
    if name == str(MODEL) or os.path.isdir(name):
        return Path(name)
    from trueslice.commands.revisions import fetch_model

    return fetch_model(name, str(MODEL))


def _write_table(class_names: Sequence[str], predictions: Iterable) -> None:
    width = max(map(len, [*class_names, "answer"]))
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    counts: Counter[str] = Counter()
    print(f"{'answer':<{width}}  sure %  {'next':<{width}}      %  {'wrong, %':<17} scan")
    for each in predictions:
        answer, sure = ("refer", "-") if each.refer else (each.y_pred, f"{100 * each.confidence:.1f}")
        counts[answer] += 1
        second = max((name for name in class_names if name != answer), key=each.probabilities.get)
        less = f"{100 * each.probabilities[second]:.1f}"
        row = f"{answer:<{width}}  {sure:>6}  {second:<{width}}  {less:>5}  {_errors(each.error_rate):<17} "
        print(f"{printable(row)}{_shortened(printable(each.name), room and max(room - len(row), MIN_PATH))}")
        for warning in each.warnings:
            print(printable(f"  ! {warning.text}"))
    if counts.total() > 1:
        kinds = ", ".join(f"{number:,} {name}" for name, number in counts.most_common())
        print(printable(f"{counts.total():,} scans: {kinds}"))


def _errors(rate) -> str:
    if rate is None:
        return "-"
    share = f"{100 * rate.share:.0f}"
    return share if rate.low is None else f"{share} ({100 * rate.low:.0f} to {100 * rate.high:.0f})"


def _shortened(name: str, room: int | None) -> str:
    return name if room is None or len(name) <= room else f"…{name[1 - room :]}"


def _write_json(_: Sequence[str], predictions: Iterable) -> None:
    for each in predictions:
        print(json.dumps(each.to_dict()))  # in ASCII: names may hold what a terminal obeys


def _write_csv(class_names: Sequence[str], predictions: Iterable) -> None:
    """Write a CSV table; its numbers have the digits of plots/predictions.csv."""
    of_classes = [f"probability_{name}" for name in class_names]
    errors = ["error_rate", "error_low", "error_high", "error_scans"]
    copy_of = ["copy_of", "copy_class", "copy_split", "copy_kind"]
    print(csv_line(["path", "class", *of_classes, *errors, "refer", "warnings", *copy_of]), end="")
    for each in predictions:
        numbers = [f"{each.probabilities[name]:.9g}" for name in class_names]
        rate, copy = each.error_rate, each.copy
        of_errors = (rate.share, rate.low, rate.high, rate.scans) if rate else (None,) * 4
        numbers += ["" if value is None else f"{value:.9g}" for value in of_errors]
        warnings = " ".join(warning.kind for warning in each.warnings)
        known = (copy.path, copy.class_name, copy.split, copy.kind) if copy else ("", "", "", "")
        refer = {None: "", True: "yes", False: "no"}[each.refer]
        print(csv_line([each.name, each.y_pred, *numbers, refer, warnings, *known]), end="")


# Functions of the class names and of the predictions as they come.
WRITERS: dict[str, Callable[[Sequence[str], Iterable], None]] = {
    "table": _write_table,
    "json": _write_json,
    "csv": _write_csv,
}
