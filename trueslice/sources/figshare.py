"""The four zips of Jun Cheng's brain tumour data: figshare, article 1512427, doi 10.6084/m9.figshare.1512427."""

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import requests

from trueslice.errors import UserError
from trueslice.files import file_hash
from trueslice.sources.download import TIMEOUT, fetch_whole

# https://figshare.com/ndownloader/files/ answers 202 with nothing.
ADDRESS = "https://ndownloader.figshare.com/files/"
PAGE = "https://doi.org/10.6084/m9.figshare.1512427"


class File(NamedTuple):
    """One file of the article; `md5` in lower-case hexadecimal digits."""

    number: int
    name: str
    md5: str


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
