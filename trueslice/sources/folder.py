"""Scans from a folder or a .zip on disk, whatever they are wrapped in; hostile and damaged archives are refused."""

import errno
import lzma
import re
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from trueslice.errors import UserError
from trueslice.files import is_litter
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


def take(source: Path, into: Path) -> int:
    """Copy the scans of `source` into the empty folder `into`, as Training/<class>/ and Testing/<class>/, or <class>/.

    `source` is a folder, or a .zip of one, wrapped in any number of folders; the names of SPLITS in any spelling of
    capitals become Training, Validation and Testing. Masks beside their scans, as `1_mask.png` is beside `1.png`, go to
    masks/. Litter and a folder `masks` next to the others are skipped, and so are files in no class folder, whose
    number is returned. All members of an archive are checked before the first is written.

    Raises:
        UserError: `source` is missing, empty, without class folders, damaged, too large for the disk, or hostile.
    """
    with _opened(source) as (sizes, open_file):
        targets = _arrange(sizes, source)
        _copy(sizes, open_file, targets, source, into)
        return len(sizes) - len(targets)


def plan(source: Path) -> dict[PurePosixPath, PurePosixPath]:
    """Return where `take` puts the files of `source`, by their paths in it; the errors are the same."""
    with _opened(source) as (sizes, _):
        return _arrange(sizes, source)


def class_folders(targets: Iterable[PurePosixPath]) -> set[tuple[str, str]]:
    """Return the class folders of files placed by `plan`: Training, Validation, Testing or nothing, and the name."""
    scans = [target.parts for target in targets if target.parts[0] != MASKS]
    return {(parts[0], parts[1]) if parts[0] in SPLITS.values() else ("", parts[0]) for parts in scans}


def unpack(source: Path, into: Path) -> None:
    """Unpack a .zip into the empty folder `into`, checked as by `take`, with the folders that it has."""
    with _members(source) as (sizes, open_file):
        _copy(sizes, open_file, {name: name for name in sizes}, source, into)


@contextmanager
def _opened(source: Path) -> Iterator[tuple[dict[PurePosixPath, int], Callable]]:
    if not (source.is_file() or source.is_dir()):
        raise UserError(f"{source} is neither a file nor a folder; give the path of a folder or .zip")
    with _folder_files(source) if source.is_dir() else _members(source) as files:
        yield files


@contextmanager
def _members(source: Path) -> Iterator[tuple[dict[PurePosixPath, int], Callable]]:
    """Yield the files of a .zip with their sizes in bytes, without litter, and a function that opens one."""
    try:
        with zipfile.ZipFile(source) as archive:
            _refuse_hostile(archive, source)
            files = {PurePosixPath(member.filename): member for member in archive.infolist() if not member.is_dir()}
            sizes = {name: file.file_size for name, file in files.items() if not any(map(is_litter, name.parts))}
            yield sizes, lambda name: archive.open(files[name])
    except PermissionError as error:
        raise UserError(f"{source} cannot be read ({error.strerror}); change its permissions") from error
    except DAMAGE as error:
        raise UserError(f"{source} is not a .zip archive, or is damaged ({error}); get it again") from error


@contextmanager
def _folder_files(source: Path) -> Iterator[tuple[dict[PurePosixPath, int], Callable]]:
    """Yield the same of a folder as `_members` of a .zip."""
    files = {}
    for path in sorted(source.rglob("*")):
        name = PurePosixPath(path.relative_to(source).as_posix())
        if any(map(is_litter, name.parts)):
            continue
        # A link could bring in any file of the machine, or lead round in a circle.
        if path.is_symlink():
            raise UserError(f"{path} is a link, which is not followed; copy the files themselves: cp -rL {source} COPY")
        if path.is_file():
            files[name] = path
        elif not path.is_dir():
            raise UserError(f"{path} is neither a file nor a folder; remove it from the scans")
    yield {name: path.stat().st_size for name, path in files.items()}, lambda name: files[name].open("rb")


def _copy(sizes: dict, open_file: Callable, targets: dict, source: Path, into: Path) -> None:
    """Copy the files named in `targets` to their places in `into`."""
    total = sum(sizes[name] for name in targets)
    free = shutil.disk_usage(into).free
    if total > free:
        raise UserError(f"{source} needs {total:,} bytes on the disk of {into.parent}, where {free:,} are free")
    with tqdm(total=total, desc="copying", unit="B", unit_scale=True, disable=None) as progress:
        for name, target in targets.items():
            try:
                with open_file(name) as file:
                    _write(file, into / target)
            except PermissionError as error:
                raise UserError(f"{error.filename} cannot be read; change its permissions") from error
            except (*DAMAGE, NotImplementedError) as error:
                raise UserError(f"{source} is damaged at {name} ({error}); get it again") from error
            progress.update(sizes[name])


def _refuse_hostile(archive: zipfile.ZipFile, source: Path) -> None:
    """Raise UserError if any member could write outside or is not a file, or if the archive is a bomb."""
    members = archive.infolist()
    for member in members:
        # zipfile itself rewrites names on some systems; the original one is what the archive says.
        name = member.orig_filename
        kind = stat.S_IFMT(member.external_attr >> 16)
        if "\\" in name or "\0" in name or name.startswith("/") or re.match("[A-Za-z]:", name):
            problem = "whose name is not a relative path"
        elif ".." in name.split("/"):
            problem = "which would land outside the target folder"
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            problem = "which is a link or a device"
        elif member.flag_bits & 0x1:
            problem = "which is encrypted; unpack it yourself and give the folder"
        else:
            continue
        raise UserError(f"{source} is refused: it holds {name!r}, {problem}")
    counts = Counter(PurePosixPath(member.filename) for member in members if not member.is_dir())
    folders = {folder for name in counts for folder in name.parents}
    if twice := [name for name, count in counts.items() if count > 1 or name in folders]:
        raise UserError(f"{source} is refused: it holds {str(twice[0])!r} more than once")
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
    return {name: PurePosixPath(splits[parts[0]], *parts[1:]) for name, parts in inside.items()}


def _in_classes(files: Sequence[PurePosixPath], source: Path) -> dict[PurePosixPath, PurePosixPath]:
    """Place files in class folders alone."""
    inside = [name for name in files if len(name.parts) > 1]
    if not inside:
        raise UserError(f"{source} has no class folders, only files; expected {LAYOUT}")
    depth = 0
    # A single folder with folders in it is a wrapper: there are two classes at least.
    while len({name.parts[depth] for name in inside}) == 1 and any(len(name.parts) > depth + 2 for name in inside):
        depth += 1
        inside = [name for name in inside if len(name.parts) > depth + 1]
    return {name: PurePosixPath(*name.parts[depth:]) for name in inside if name.parts[depth] != MASKS}


def _with_masks(targets: dict[PurePosixPath, PurePosixPath], source: Path) -> dict[PurePosixPath, PurePosixPath]:
    """Place masks that are beside their scans where `trueslice.reading.masks` looks for them."""
    scans = {target.with_suffix(""): target for target in targets.values()}
    masks: dict[PurePosixPath, PurePosixPath] = {}
    seen = set()
    for name, target in targets.items():
        found = BESIDE.fullmatch(target.stem)
        if found and (scan := scans.get(target.with_name(found[1]))):
            mask = PurePosixPath(MASKS, f"{scan}.png")
            if target.suffix.lower() != ".png" or mask in seen:
                advice = "bring one mask a scan, as PNG, or move the masks elsewhere"
                raise UserError(f"{source} holds {name}, which seems to be a mask of {scan.name}; {advice}")
            masks[name] = mask
            seen.add(mask)
    return targets | masks


def _write(file: BinaryIO, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as copy:
            shutil.copyfileobj(file, copy, 2**20)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        # A name too long for this disk, or two that differ in capitals only where it does not tell them apart.
        raise UserError(f"{target.name} cannot be written as {target} ({error.strerror}); rename it") from error
