"""Scans from a folder or a .zip on disk, whatever they are wrapped in; hostile and damaged archives are refused."""

import errno
import lzma
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from trueslice.errors import UserError
from trueslice.files import files_in, is_litter
from trueslice.progress import Progress
from trueslice.reading.masks import MASKS

SPLITS = {
    **dict.fromkeys(("training", "train"), "Training"),
    **dict.fromkeys(("validation", "valid", "val"), "Validation"),
    **dict.fromkeys(("testing", "test"), "Testing"),
}
BESIDE = re.compile(r"(.+)[ _-](?:mask|seg|segmentation)(?:[ _-]?\d+)?", re.IGNORECASE)  # 1_mask.png, beside 1.png
LAYOUT = "Training/<class>/ and Testing/<class>/, or <class>/ alone"
# Scans hardly compress; a deflate bomb reaches 1000 : 1, and one with overlapping members far more.
MAX_RATIO = 100
ALWAYS_ALLOWED = 100 * 2**20  # bytes that an archive may unpack to whatever its ratio
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)

Files = dict[PurePosixPath, Callable[[], Any]]  # a function that opens each, in binary mode


def take(source: Path, into: Path) -> int:
    """Copy the scans of `source` into the empty folder `into`, as Training/<class>/ and Testing/<class>/, or <class>/.

    `source` is a folder, or a .zip of one, wrapped in any number of folders; the names of SPLITS in any spelling of
    capitals become Training, Validation and Testing. Masks beside their scans, as `1_mask.png` is beside `1.png`, go to
    masks/. Litter and a folder `masks` next to the others are skipped, and so are files in no class folder, whose
    number is returned.

    Raises:
        UserError: `source` is missing, empty, without class folders, damaged or hostile.
    """
    with _opened(source) as files:
        targets = _arrange(files, source)
        _copy(files, targets, source, into)
        return len(files) - len(targets)


def plan(source: Path) -> dict[PurePosixPath, PurePosixPath]:
    """Return where `take` puts the files of `source`, by their paths in it; the errors are the same."""
    with _opened(source) as files:
        return _arrange(files, source)


def class_folders(targets: Iterable[PurePosixPath]) -> set[tuple[str, str]]:
    """Return the class folders of files placed by `plan`: Training, Validation, Testing or nothing, and the name."""
    scans = [target.parts for target in targets if target.parts[0] != MASKS]
    return {(parts[0], parts[1]) if parts[0] in SPLITS.values() else ("", parts[0]) for parts in scans}


def unpack(source: Path, into: Path) -> None:
    """Unpack a .zip into the empty folder `into`, checked as by `take`, with the folders that it has."""
    with _opened(source) as files:
        _copy(files, {name: name for name in files}, source, into)


@contextmanager
def _opened(source: Path) -> Iterator[Files]:
    """Yield the files of a folder or .zip, without litter."""
    if os.path.isdir(source):
        names, others = files_in(source)
        for name, reason in others:
            raise UserError(f"{source}/{name}: {reason}; remove it, or copy the files themselves: cp -rL {source} COPY")
        yield {PurePosixPath(name): partial(open, source / name, "rb") for name in names}
        return
    if not os.path.isfile(source):
        problem = "is neither a file nor a folder" if os.path.exists(source) else "does not exist"
        raise UserError(f"{source} {problem}; give the path of a folder or .zip")
    try:
        with zipfile.ZipFile(source) as archive:
            found = [member for member in archive.infolist() if not member.filename.endswith("/")]
            members = {PurePosixPath(member.filename): member for member in found}
            _refuse_hostile(found, source)
            kept = [name for name in members if not any(map(is_litter, name.parts))]
            yield {name: partial(archive.open, members[name]) for name in kept}
    except PermissionError as error:
        raise UserError(f"{source} cannot be read ({error.strerror}); change its permissions") from error
    except DAMAGE as error:
        raise UserError(f"{source} is not a .zip archive, or is damaged; get it again") from error


def _refuse_hostile(members: Sequence[zipfile.ZipInfo], source: Path) -> None:
    """Raise UserError for a member that could be written outside, is a link or repeats a name, and for a bomb."""
    seen = set()
    for member in members:
        name = PurePosixPath(member.filename)
        if name.is_absolute() or ".." in name.parts:
            raise UserError(f"{source} is refused: it holds {str(name)!r}, which would land outside the folder")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise UserError(f"{source} is refused: {str(name)!r} is a link or a device; pack the files themselves")
        if name in seen:
            raise UserError(f"{source} is refused: it holds {str(name)!r} more than once; remove one")
        seen.add(name)
    unpacked, packed = sum(member.file_size for member in members), source.stat().st_size
    if unpacked > max(ALWAYS_ALLOWED, MAX_RATIO * packed):
        problem = f"its {packed:,} bytes would unpack to {unpacked:,}, which no archive of scans does"
        raise UserError(f"{source} is refused: {problem}; if you trust it, unpack it yourself and give the folder")


def _arrange(files: Iterable[PurePosixPath], source: Path) -> dict[PurePosixPath, PurePosixPath]:
    """Map paths in the source to paths in the target, without the files in no class folder."""
    files = sorted(files)
    if not files:
        raise UserError(f"{source} is empty; expected {LAYOUT}")
    # The folders that hold a Training or Testing folder with at least one class folder.
    homes = {
        name.parts[:depth] for name in files for depth, part in enumerate(name.parts[:-2]) if part.lower() in SPLITS
    }
    targets = _with_masks(_in_splits(files, homes, source) if homes else _in_classes(files, source), source)
    owners: dict[PurePosixPath, PurePosixPath] = {}
    for name, target in targets.items():
        if owners.setdefault(target, name) != name:
            raise UserError(f"{source} holds {owners[target]} and {name}, both of them as {target}; remove one")
    return targets


def _in_splits(
    files: Sequence[PurePosixPath], homes: set[tuple[str, ...]], source: Path
) -> dict[PurePosixPath, PurePosixPath]:
    """Place files in Training and its like, which are in the outermost of `homes`."""
    depth = min(map(len, homes))
    homes = {home for home in homes if len(home) == depth}
    if len(homes) > 1:
        found = ", ".join(sorted("/".join(home) for home in homes))
        raise UserError(f"{source} holds Training or Testing folders in several places: {found}; give one of them")
    home, inside = homes.pop(), {}
    for name in files:
        parts = name.parts[depth:] if name.parts[:depth] == home else ()
        # An archive may repeat a name, Training/Training/<class>, or wrap all: Training/Testing/<class>.
        while len(parts) > 3 and parts[0].lower() in SPLITS and parts[1].lower() in SPLITS:
            parts = parts[1:]
        if len(parts) > 2 and parts[0].lower() in SPLITS:
            inside[name] = parts
    splits = {parts[0]: SPLITS[parts[0].lower()] for parts in inside.values()}
    if "Training" not in splits.values():
        raise UserError(f"{source} holds {', '.join(sorted(splits))} but no Training folder; expected {LAYOUT}")
    if len(set(splits.values())) < len(splits):
        raise UserError(f"{source} holds {', '.join(splits)}, of which two mean the same; expected {LAYOUT}")
    classes = {parts[1] for parts in inside.values()}
    beside = [name.parts[depth:] for name in files if name.parts[:depth] == home and name not in inside]
    if others := [parts[0] for parts in beside if parts[0] != MASKS and {*parts[1:-1]} & classes]:
        advice = "name it train, valid or test, or move it away"
        raise UserError(f"{source} holds {others[0]} beside {', '.join(splits)}, with class folders; {advice}")
    return {name: PurePosixPath(splits[parts[0]], *parts[1:]) for name, parts in inside.items()}


def _in_classes(files: Sequence[PurePosixPath], source: Path) -> dict[PurePosixPath, PurePosixPath]:
    """Place files in class folders alone."""

    def in_folders(names: Iterable[PurePosixPath], depth: int) -> list[PurePosixPath]:
        return [name for name in names if len(name.parts) > depth + 1 and name.parts[depth] != MASKS]

    depth, inside = 0, in_folders(files, 0)
    # A single folder with folders in it is a wrapper: there are two classes at least.
    while len({name.parts[depth] for name in inside}) == 1 and any(len(name.parts) > depth + 2 for name in inside):
        depth += 1
        inside = in_folders(inside, depth)
    if not inside:
        raise UserError(f"{source} has no class folders, only files; expected {LAYOUT}")
    return {name: PurePosixPath(*name.parts[depth:]) for name in inside}


def _with_masks(targets: dict[PurePosixPath, PurePosixPath], source: Path) -> dict[PurePosixPath, PurePosixPath]:
    """Place masks that are beside their scans where `trueslice.reading.masks` looks for them."""
    scans = {target.with_name(_stem(target)): target for target in targets.values()}
    masks: dict[PurePosixPath, PurePosixPath] = {}
    seen = set()
    for name, target in targets.items():
        if any(folder.lower() in ("mask", MASKS) for folder in target.parts[1:-1]):
            problem = f"{source} holds {name}, a folder of masks among the scans of a class"
            raise UserError(f"{problem}; move it elsewhere, and name it in explain.masks")
        found = BESIDE.fullmatch(_stem(target))
        if found and (scan := scans.get(target.with_name(found[1]))):
            mask = PurePosixPath(MASKS, f"{scan}.png")
            if target.suffix.lower() != ".png" or mask in seen:
                advice = "bring one mask a scan, as PNG, or move the masks elsewhere"
                raise UserError(f"{source} holds {name}, which seems to be a mask of {scan.name}; {advice}")
            masks[name] = mask
            seen.add(mask)
    return targets | masks


def _stem(path: PurePosixPath) -> str:
    return path.stem.removesuffix(".nii")  # 1.nii.gz


def _copy(files: Files, targets: dict[PurePosixPath, PurePosixPath], source: Path, into: Path) -> None:
    """Copy the files named in `targets` to their places in `into`."""
    for name, target in Progress(targets.items(), desc="copying", unit="file"):
        try:
            (into / target).parent.mkdir(parents=True, exist_ok=True)
            with files[name]() as file, (into / target).open("xb") as copy:
                shutil.copyfileobj(file, copy, 2**20)
        except (*DAMAGE, RuntimeError) as error:  # encrypted, or packed in a way that zipfile does not know
            raise UserError(f"{source} is damaged or encrypted at {name}; get it again") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            # No permission, a name too long for this disk, or two that differ in capitals only where it ignores them.
            raise UserError(f"{source}: {name} cannot be copied to {target} ({error.strerror})") from error
