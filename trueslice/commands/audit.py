"""Find copies among the images of any folder, or across two, and show them on a page.

Copies show the same picture with other contrast, sharpness, size or quality, also mirrored, turned, cropped, zoomed or
shifted. Folders may be nested anyhow and need no classes. With two folders only pairs across them are sought.
"""

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trueslice.errors import ParamsError, UserError
from trueslice.files import output_folder, printable

if TYPE_CHECKING:
    from trueslice.audit.folders import Found, Images
    from trueslice.params import Verify

NAMED = 5  # unreadable files that are named on the terminal
# The settings, with the values that the project's params.yaml gives them under `verify:`, so that both find the same.
SETTINGS: dict[str, tuple[int | float | str, str]] = {
    "image_size": (224, "pixels per side of the square into which every image is resized"),
    "max_pixels": (25_000_000, "an image with more pixels is not read"),
    "copy_threshold": (0.98, "images that correlate at least this much are copies"),
    "local_threshold": (0.9, "doubtful pairs must also agree this much in small windows"),
    "min_overlap": (0.5, "doubtful pairs must share this part of the picture"),
    "device": ("cpu", "where copies are sought: auto, cpu, cuda, cuda:1 or mps"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="FOLDER", type=Path, help="folder or .zip of images")
    parser.add_argument("second", metavar="FOLDER", type=Path, nargs="?", help="another one, to compare with the first")
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, default=Path("audit"), help="pairs.csv, pairs.html (default: audit)"
    )
    parser.add_argument("--colour", action="store_true", help="keep three channels, instead of making all images grey")
    for name, (value, explained) in SETTINGS.items():
        shown: dict[str, Any] = {
            "metavar": "DEVICE" if name == "device" else "N",
            "help": f"{explained} (default: {value})",
        }
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, **shown)
    parser.add_argument("--workers", metavar="N", type=int, default=0, help="processes that read (default: all cores)")


def run(options: argparse.Namespace) -> None:
    sources = [options.first] if options.second is None else [options.first, options.second]
    _check(sources, options.output)
    from trueslice.audit import folders as audit
    from trueslice.copies.thumbnails import thumbnails
    from trueslice.device import pick_device
    from trueslice.patients import slices
    from trueslice.report import audit as report

    settings = read_settings(options)
    device = pick_device(settings.device, "--device")
    # Made first, so that minutes of work don't end at a folder that can't be written to.
    with output_folder(options.output) as folder, tempfile.TemporaryDirectory(dir=folder) as place:
        images = audit.read(sources, Path(place), settings, options.workers)
        found = audit.search(images, settings, device)
        audit.table(images, found).write(folder / "pairs.csv")
        patients = slices.patients(thumbnails(images.pixels))
        report.write(folder, [printable(source) for source in sources], images, found)
    _print(sources, images, found)
    _print_patients(sources, [set(patients[images.part == part].tolist()) - {""} for part in range(images.parts)])
    print(f"Written to {printable(options.output / 'pairs.csv')}; look at {printable(options.output / 'pairs.html')}")


def read_settings(options: argparse.Namespace) -> "Verify":
    """Return the settings that the options give; ParamsError if a value is out of range."""
    from trueslice.params import Verify, check

    if not 0 <= options.workers <= 1024:
        raise ParamsError(f"--workers is {options.workers}; give a number from 0 to 1024")
    values = {name: getattr(options, name) for name in SETTINGS}
    own = {"colour": options.colour, "max_unreadable": 0, "patients": None, "decisions": "none"}
    return check(Verify, values | own, "audit")


def _check(sources: list[Path], output: Path) -> None:
    for source in sources:
        if not (os.path.isdir(source) or os.path.isfile(source)):
            problem = "is neither a file nor a folder" if os.path.exists(source) else "does not exist"
            raise UserError(f"{source} {problem}; give a folder or .zip of images")
    places = [Path(os.path.realpath(path)) for path in sources]
    if len(places) == 2 and places[0] == places[1]:
        raise UserError(f"{sources[0]} and {sources[1]} are the same; give one alone to find the copies within it")
    for inner, outer in [(0, 1), (1, 0)] if len(places) == 2 else []:
        if places[inner].is_relative_to(places[outer]):
            raise UserError(f"{sources[inner]} is inside {sources[outer]}; give two folders, neither inside the other")
    for source, place in zip(sources, places, strict=True):
        if Path(os.path.realpath(output)).is_relative_to(place):
            raise UserError(f"{output} is inside {source}, and would count as images there; give -o another folder")


def _print(sources: list[Path], images: "Images", found: "Found") -> None:
    from trueslice.report.format import counted

    for part, (source, unreadable) in enumerate(zip(sources, images.unreadable, strict=True)):
        read = counted((images.part == part).sum(), "image")
        print(f"{printable(source)}: {read}, {counted(len(unreadable), 'file')} unreadable")
        for path, reason in unreadable[:NAMED]:
            print(f"  {printable(path)}: {reason}")
        if len(unreadable) > NAMED:
            print(f"  and {len(unreadable) - NAMED:,} more, which pairs.html names")
    where = " across both" if images.parts == 2 else ""
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in Counter(found.pairs.kind.tolist()).most_common())
    print(f"{counted(len(found.pairs), 'pair')} of copies{where}{': ' if kinds else ''}{kinds}")
    if images.parts == 1:
        left = len(images.path) - found.copied.sum() + found.groups
        print(f"{counted(found.groups, 'group')} of copies; {counted(left, 'image')} left if one of each is kept")
        return
    for part, source in enumerate(sources):
        copied = found.copied[images.part == part]
        print(f"{printable(source)}: {copied.sum():,} of {counted(len(copied), 'image')} have a copy in the other")


def _print_patients(sources: list[Path], known: list[set[str]]) -> None:
    """Print how many patients of a source that names them each folder shows, and how many both do."""
    from trueslice.report.format import counted

    for source, patients in zip(sources, known, strict=True):
        if patients:
            print(f"{printable(source)}: {counted(len(patients), 'known patient')}; trueslice trace lists the images")
    if len(known) == 2 and (both := known[0] & known[1]):
        print(f"{counted(len(both), 'known patient')} in both folders")
