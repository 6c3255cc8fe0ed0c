"""Copies in any folder of images, or across two, outside the pipeline: without classes, splits or patients."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trueslice.copies import groups
from trueslice.copies import search as copies
from trueslice.copies.search import Joined, ScanImages
from trueslice.copies.thumbnails import thumbnails
from trueslice.errors import UserError
from trueslice.files import as_text, files_in
from trueslice.params import Verify
from trueslice.reading import scans as reading
from trueslice.reading.scans import ScanFile, Unreadable
from trueslice.sources import folder
from trueslice.tables.base import SIX_DECIMALS, TEXT, WHOLE, Table, column
from trueslice.tables.scans import Pairs


@dataclass(frozen=True)
class FilePairs(Table):
    """Files that are copies of each other, the least similar first: pairs.csv of `trueslice audit`."""

    path_a: np.ndarray = column(TEXT)  # in its folder, with forward slashes; of two folders, in the first
    path_b: np.ndarray = column(TEXT)  # likewise; of two folders, in the second
    kind: np.ndarray = column(TEXT)  # as in `trueslice.tables.scans.Pairs`
    correlation: np.ndarray = column(SIX_DECIMALS)
    group: np.ndarray = column(WHOLE)  # the same for copies of copies, from 1, in the order of the files


class Images(NamedTuple):
    """The images of one or two folders, those of the second after those of the first."""

    pixels: Joined  # uint8 [N, S, S] or [N, S, S, 3]
    path: np.ndarray  # str [N], in its folder
    pixel_hash: np.ndarray  # str [N]
    part: np.ndarray  # int [N], 0 for those of the first folder, 1 for those of the second
    unreadable: list[list[Unreadable]]  # of each folder

    @property
    def parts(self) -> int:
        """Number of folders."""
        return len(self.unreadable)


class Found(NamedTuple):
    """Copies among images."""

    pairs: Pairs  # rows of images, the least similar first
    maps: np.ndarray  # float64 [P, 2, 3], as in `trueslice.copies.search.Copies`
    group: np.ndarray  # int [N], the same for copies of copies, the first row of each group

    @property
    def copied(self) -> np.ndarray:
        """Images that are in a pair: bool [N]."""
        return np.isin(np.arange(len(self.group)), [self.pairs.a, self.pairs.b])

    @property
    def groups(self) -> int:
        """Number of groups of copies."""
        return len(np.unique(self.group[self.pairs.a]))


def read(sources: Sequence[Path], into: Path, params: Verify, workers: int) -> Images:
    """Decode all images of one or two folders or .zip files into the empty folder `into`, as the verify stage does.

    Raises:
        UserError: a source is neither a folder nor a .zip, or nothing in it can be read.
    """
    decoded = []
    for number, source in enumerate(sources):
        place = into / str(number)
        place.mkdir()
        decoded.append((*_decode(source, place, params, workers), np.load(place / "pixels.npy", mmap_mode="r")))
    scans = [scan for found, _, _ in decoded for scan in found]
    return Images(
        Joined(*(pixels for _, _, pixels in decoded)),
        np.array([scan.path for scan in scans]),
        np.array([scan.pixel_hash for scan in scans]),
        np.repeat(np.arange(len(decoded)), [len(found) for found, _, _ in decoded]),
        [unreadable for _, unreadable, _ in decoded],
    )


def _decode(source: Path, into: Path, params: Verify, workers: int) -> tuple[list[reading.Scan], list[Unreadable]]:
    raw = source
    if not source.is_dir():
        raw = into / "raw"
        raw.mkdir()
        folder.unpack(source, raw)
    names, others = files_in(raw)
    settings = params.model_copy(update={"max_unreadable": len(names)})
    found, unreadable = reading.read(raw, [ScanFile(name, "", "") for name in names], into, settings, workers)
    unreadable = sorted(unreadable + [Unreadable(as_text(path), reason) for path, reason in others])
    if not found:
        if not unreadable:
            raise UserError(f"{source} holds no file; give a folder or .zip of images")
        path, reason = unreadable[0]
        raise UserError(f"{source} holds no image: none of its files can be read ({len(unreadable)}), {path}: {reason}")
    return found, unreadable


def search(images: Images, params: Verify, device: str) -> Found:
    """Find all copies within one folder, or all across two: pairs of a file of the first and a file of the second.

    All images are compared with each other. A file with the very pixels of another is paired with the first of them;
    across two folders with the first on the other side, and with the first of each kind of copies there.
    """
    means = thumbnails(images.pixels)
    found = copies.find(ScanImages(images.pixels, means, images.pixel_hash), params, device)
    group = groups.group(len(images.path), found.pairs)
    pairs, maps = (found.pairs, found.maps) if images.parts == 1 else _across(images, found)
    order = np.lexsort((pairs.b, pairs.a, pairs.correlation))
    return Found(pairs.take(order), maps[order], group)


def _across(images: Images, found: copies.Copies) -> tuple[Pairs, np.ndarray]:
    """Derive the pairs across two folders, with their maps, from all pairs: equal pixels have equal copies."""
    _, pixels = np.unique(images.pixel_hash, return_inverse=True)
    files: dict[tuple[int, int], list[int]] = {}  # by folder and pixels
    for row, key in enumerate(zip(images.part.tolist(), pixels.tolist(), strict=True)):
        files.setdefault(key, []).append(row)
    differ = pixels[found.pairs.a] != pixels[found.pairs.b]
    pairs, maps = found.pairs.take(differ), found.maps[differ]
    every = np.arange(pixels.max() + 1)
    exact = Pairs(every, every, np.full(len(every), "exact"), np.ones(len(every)))
    alike = replace(pairs, a=pixels[pairs.a], b=pixels[pairs.b])
    turned, back = _swapped(alike, maps)
    alike = Pairs.concatenate([exact, alike, turned])
    maps = np.concatenate([np.tile(np.eye(2, 3), (len(every), 1, 1)), maps, back])
    rows = []
    for place, (first, second) in enumerate(zip(alike.a.tolist(), alike.b.tolist(), strict=True)):
        here, there = files.get((0, first), []), files.get((1, second), [])
        if here and there:
            rows += [(place, here[0], each) for each in there] + [(place, each, there[0]) for each in here[1:]]
    at, a, b = np.array(rows, dtype=int).reshape(-1, 3).T
    return replace(alike.take(at), a=a, b=b), maps[at]


def _swapped(pairs: Pairs, maps: np.ndarray) -> tuple[Pairs, np.ndarray]:
    """Exchange a and b of all pairs."""
    other = {"quarter_turn_right": "quarter_turn_left", "quarter_turn_left": "quarter_turn_right"}
    kinds = np.array([other.get(kind, kind) for kind in pairs.kind.tolist()], dtype=pairs.kind.dtype)
    inverse = np.linalg.inv(maps[:, :, :2])
    moved = np.concatenate([inverse, -inverse @ maps[:, :, 2:]], axis=2)
    return replace(pairs, a=pairs.b, b=pairs.a, kind=kinds), moved


def table(images: Images, found: Found) -> FilePairs:
    """Name the files of the pairs."""
    pairs = found.pairs
    _, number = np.unique(found.group[pairs.a], return_inverse=True)
    return FilePairs(images.path[pairs.a], images.path[pairs.b], pairs.kind, pairs.correlation, number + 1)
