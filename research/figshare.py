"""Jun Cheng's brain tumour data: figshare, article 1512427, doi 10.6084/m9.figshare.1512427, CC BY 4.0.

Its four zips hold one MATLAB v7.3 file, which is HDF5, for each slice.
"""

import io
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import h5py
import numpy as np
import requests

from trueslice.copies.thumbnails import FINE, thumbnails
from trueslice.errors import UserError
from trueslice.files import file_hash, files_in
from trueslice.progress import Progress
from trueslice.reading.images import grey_of
from trueslice.reading.square import fit
from trueslice.sources import folder
from trueslice.sources.download import TIMEOUT, fetch_whole

LABELS = {1: "meningioma", 2: "glioma", 3: "pituitary"}
SIZE = 256  # pixels per side from which thumbnails are made

# https://figshare.com/ndownloader/files/ answers 202 with nothing.
ADDRESS = "https://ndownloader.figshare.com/files/"
PAGE = "https://doi.org/10.6084/m9.figshare.1512427"


class File(NamedTuple):
    """One file of the article; `md5` in lower-case hexadecimal digits."""

    number: int
    name: str
    md5: str


class Slice(NamedTuple):
    """One file of the source."""

    number: int
    class_name: str
    source_id: str

    @property
    def patient(self) -> str:
        """The id without a letter behind its digits: MR051644 and MR051644B are probably one person."""
        return re.sub(r"(?<=\d)[A-Z]$", "", self.source_id)


FILES = (
    File(3381290, "brainTumorDataPublic_1-766.zip", "74b949ad33f042e6e103523091cd1428"),
    File(3381296, "brainTumorDataPublic_767-1532.zip", "7e8a875500d2c8a346f270538e29890e"),
    File(3381293, "brainTumorDataPublic_1533-2298.zip", "8227bf6080cb71f15a88be8d25c79ae7"),
    File(3381302, "brainTumorDataPublic_2299-3064.zip", "b378a80d6174e5317d59eb28430c6652"),
)


def download(into: Path) -> None:
    """Bring the four zips into a folder; what is there and intact is kept, and what was cut is resumed."""
    for file in FILES:
        path = into / file.name
        if path.exists():
            if (md5 := file_hash(path, "md5")) != file.md5:
                raise UserError(f"{path} is not the published file: its MD5 is {md5}; delete it to download it again")
            print(f"figshare: using {path}, which is there", file=sys.stderr)
            continue
        # A hidden folder is skipped when the slices are read.
        incoming = into / f".{file.name}.incoming" / file.name
        fetch_whole(partial(_ask, file), incoming, "figshare", partial(_explain, file))
        if (md5 := file_hash(incoming, "md5")) != file.md5:
            shutil.rmtree(incoming.parent)
            raise UserError(f"what figshare sent for {file.name} was deleted: its MD5 is {md5}; start again later")
        incoming.replace(path)
        shutil.rmtree(incoming.parent)


def _ask(file: File, headers: dict[str, str]) -> requests.Response:
    return requests.get(f"{ADDRESS}{file.number}", headers=headers, stream=True, timeout=TIMEOUT)


def _explain(file: File, error: requests.RequestException) -> str:
    advice = f"or download the article's four zips from {PAGE}"
    if error.response is None:
        problem = f"figshare cannot be reached, or the connection broke ({type(error).__name__})"
        return f"{problem}; check the network and start again, {advice}"
    return f"figshare did not send {file.name}: status {error.response.status_code}; start again later, {advice}"


def read_source(source: Path) -> tuple[list[Slice], np.ndarray]:
    """Read all slices of the article, in the order of their numbers: M of them, and float32 [M, 64, 64] thumbnails."""
    files = mat_files(source)
    slices, means = [], np.empty((len(files), FINE, FINE), np.float32)
    for row, number in enumerate(Progress(sorted(files), desc="reading the source", unit="slice")):
        with content_of(*files[number], "is no slice of the figshare article") as content:
            label = LABELS[int(content["label"][()].item())]
            slices.append(Slice(number, label, "".join(map(chr, content["PID"][()].ravel()))))
            # HDF5 stores MATLAB's arrays transposed.
            means[row] = thumbnails(fit(grey_of(content["image"][()].T), SIZE)[None])[0]
    return slices, means


@contextmanager
def content_of(name: str, read_file: Callable[[], bytes], problem: str) -> Iterator[Any]:
    """Yield the content of a slice's file; an error in the block ends in a UserError that says `problem`."""
    try:
        with h5py.File(io.BytesIO(read_file())) as file:
            yield file["cjdata"]
    except (*folder.DAMAGE, OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{name} {problem} ({reason}); get it again") from None


def mat_files(source: Path) -> dict[int, tuple[str, Callable[[], bytes]]]:
    """Find the article's .mat files, in folders and zips, by number: the name of each, and a function that reads it."""
    files: dict[int, tuple[str, Callable[[], bytes]]] = {}
    names, others = files_in(source) if source.is_dir() else ([""], [])
    for name, reason in others:
        raise UserError(f"{source / name}: {reason}; remove it")
    for path in [source / name for name in names]:
        if number := _number(path.name):
            files.setdefault(number, (str(path), path.read_bytes))
        elif path.suffix.lower() == ".zip":
            try:
                # Left open until the end: its members are read one by one.
                archive = zipfile.ZipFile(path)
            except (*folder.DAMAGE, OSError) as error:
                raise UserError(f"{path} is not a .zip archive, or is damaged ({error}); get it again") from None
            for member in archive.namelist():
                if number := _number(member):
                    files.setdefault(number, (f"{member} in {path}", partial(archive.read, member)))
    if not files:
        raise UserError(f"{source} holds no 1.mat, 2.mat, … and no .zip of them; give the figshare article's files")
    return files


def _number(name: str) -> int | None:
    found = re.fullmatch(r"0*([1-9][0-9]{0,8})\.mat", PurePosixPath(name).name)
    return int(found[1]) if found else None
