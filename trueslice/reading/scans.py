"""Folders of image files in, one uint8 array and one table row per scan out. Every file is decoded exactly once."""

import hashlib
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from trueslice.errors import UserError
from trueslice.files import as_text, files_in
from trueslice.lifetime import pool
from trueslice.params import Verify
from trueslice.progress import Progress
from trueslice.reading.classes import OFFICIAL_SPLITS
from trueslice.reading.images import Picture, why_unreadable
from trueslice.reading.masks import MASKS
from trueslice.reading.names import file_of
from trueslice.reading.pictures import read_pictures
from trueslice.reading.square import fit


class ScanFile(NamedTuple):
    """A file that should hold a scan; `path` is relative to the folder of the source, with forward slashes."""

    path: str
    class_name: str
    official_split: str


class Unreadable(NamedTuple):
    """A file, or one of its frames, that cannot be read."""

    path: str
    reason: str


class Scan(NamedTuple):
    """A decoded scan: columns of `trueslice.tables.scans.Scans`; of a file with several frames, each is one."""

    path: str
    class_name: str
    official_split: str
    width: int
    height: int
    mode: str
    pixel_hash: str
    has_colour: bool


def find(raw: Path) -> list[ScanFile]:
    """List the files in the class folders of `raw`, sorted by path.

    `raw` holds Training/<class>/, and perhaps Validation/<class>/ and Testing/<class>/, or <class>/ alone. Hidden
    files, system litter and the folder `masks` are skipped. What is no file is listed, and cannot be read later.

    Raises:
        UserError: there is no file in a class folder.
    """
    names, unreadable = files_in(raw)
    paths = [(path, path.split("/")) for path in sorted([*names, *dict(unreadable)])]
    if any(parts[0] == "Training" for _, parts in paths):
        official = [(path, parts) for path, parts in paths if len(parts) > 2 and parts[0] in OFFICIAL_SPLITS]
        files = [ScanFile(path, parts[1], OFFICIAL_SPLITS[parts[0]]) for path, parts in official]
    else:
        files = [ScanFile(path, parts[0], "") for path, parts in paths if len(parts) > 1 and parts[0] != MASKS]
    if not files:
        layout = "expected Training/<class>/ and Testing/<class>/, or <class>/ alone"
        raise UserError(f"{raw} holds no class folder with scans; {layout}: check data.source")
    return files


def read(
    raw: Path,
    files: Sequence[ScanFile],
    into: Path,
    params: Verify,
    workers: int,
    left_out: Collection[str] = (),
) -> tuple[list[Scan], list[Unreadable]]:
    """Decode `files` and write their scans to `into`/pixels.npy, in their order, without unreadable ones.

    Scans whose paths are in `left_out` are not written either, and not listed.
    pixels.npy is uint8 [N, S, S], or [N, S, S, 3] with `params.colour`, where S is `params.image_size`; `fit` brings
    the scans to this size. `workers` is the number of processes; 0 takes one per CPU core.

    Raises:
        UserError: more than `params.max_unreadable` files cannot be read.
    """
    scans: list[Scan] = []
    unreadable: list[Unreadable] = []
    shape = (params.image_size, params.image_size, *([3] if params.colour else []))
    decode = partial(_decode, raw=raw, params=params)
    with (into / "pixels.npy").open("wb") as pixels, pool(workers) as processes:
        _write_header(pixels, (len(files), *shape))
        decoded = processes.map(decode, files)
        for frames in Progress(decoded, total=len(files), desc="reading", unit="file"):
            for scan, square in frames:
                if isinstance(scan, Unreadable):
                    unreadable.append(scan)
                elif scan.path not in left_out:
                    scans.append(scan)
                    pixels.write(square)
        pixels.seek(0)
        _write_header(pixels, (len(scans), *shape))
    if len(unreadable) > params.max_unreadable:
        first = "; ".join(f"{path} ({reason})" for path, reason in unreadable[:3])
        more = f"; and {len(unreadable) - 3} more" if len(unreadable) > 3 else ""
        advice = f"remove or replace them, or raise verify.max_unreadable (now {params.max_unreadable})"
        raise UserError(f"{len(unreadable)} of {len(files)} files cannot be read: {first}{more}; {advice}")
    return scans, unreadable


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    # NumPy leaves room for the first axis to grow, so the header is as long for any number of scans.
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _decode(file: ScanFile, raw: Path, params: Verify) -> list[tuple[Scan | Unreadable, bytes]]:
    """Decode all frames of a file, each to its row and its square of pixels."""
    scans: list[tuple[Scan | Unreadable, bytes]] = []
    try:
        file.path.encode("utf-8")
        keep = partial(_scan, file=file, params=params)
        for path, found in read_pictures(raw / file.path, file.path, params.max_pixels, "all", keep):
            scans.append((Unreadable(path, found), b"") if isinstance(found, str) else found)
    except UnicodeEncodeError:
        return [(Unreadable(as_text(file.path), "its name is not valid UTF-8"), b"")]
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly every exception there is on a broken file
        return [(Unreadable(file.path, why_unreadable(error)), b"")]
    return scans


def _scan(path: str, picture: Picture, file: ScanFile, params: Verify) -> tuple[Scan, bytes]:
    image = picture.image.convert("RGB" if params.colour else "L")
    pixels = np.asarray(image)
    pixel_hash = hashlib.sha256(f"{pixels.shape}".encode())
    pixel_hash.update(pixels.data)
    whole = file_of(path)
    if whole != path and pixels.min() == pixels.max():
        # Empty slices of two volumes are no copies: they would make one unit of all volumes.
        pixel_hash.update(whole.encode())
    own = file._replace(path=path)
    scan = Scan(*own, *image.size, picture.mode, pixel_hash.hexdigest()[:32], picture.has_colour)
    return scan, fit(image, params.image_size).tobytes()
