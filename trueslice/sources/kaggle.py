"""A data set from Kaggle: the official client asks for the archive, with time limits, and what was cut is resumed."""

import os
import shutil
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import requests

from trueslice.errors import UserError
from trueslice.files import file_hash
from trueslice.sources import download

PAGE = "https://www.kaggle.com/datasets/"
CREDENTIALS = (
    "KAGGLE_API_TOKEN (or ~/.kaggle/access_token), or KAGGLE_USERNAME and KAGGLE_KEY (or ~/.kaggle/kaggle.json)"
)


def bring(dataset: str, version: int | None, sha256: str | None, cache: Path) -> Path:
    """Bring the archive of the data set owner/name into the folder `cache`, once, and return its path.

    One that is there is used without the network. A `version` of None takes the newest at the first download; a
    `sha256` of None accepts any bytes. Credentials of the environment are used; public data sets need none.

    Raises:
        UserError: no access, no such data set or version, no network, a damaged archive, which is deleted, or another
            one than `sha256` says.
    """
    archive = cache / dataset / str(version or "newest") / f"{dataset.split('/')[1]}.zip"
    archive.parent.mkdir(parents=True, exist_ok=True)
    # Of experiments that run side by side one downloads; the others wait, and find the archive.
    with filelock.FileLock(archive.parent.with_suffix(".lock")):
        if archive.exists():
            print(f"kaggle: using {archive}, downloaded before; delete it to download again", file=sys.stderr)
        else:
            incoming = archive.parent / "incoming" / archive.name
            explain = partial(_explain, dataset, version)
            download.fetch_whole(partial(_ask, dataset, version), incoming, "kaggle", explain)
            if damage := _damage(incoming):
                shutil.rmtree(incoming.parent)
                problem = f"what {PAGE}{dataset} sent is damaged and was deleted ({damage})"
                raise UserError(f"{problem}; run `dvc repro` again")
            incoming.replace(archive)
            shutil.rmtree(incoming.parent)
    digest = file_hash(archive)
    if sha256 and digest != sha256:
        problem = f"{archive} has SHA-256 {digest}, but data.kaggle.sha256 is {sha256}"
        raise UserError(f"{problem}; correct that parameter, or delete the archive to download it again")
    print(f"kaggle: {archive.name} has SHA-256 {digest}; set data.kaggle.sha256 to it to insist on these bytes")
    return archive


def _ask(dataset: str, version: int | None, headers: dict[str, str]) -> requests.Response:
    # Not the package kaggle, which prints, closes stdin and asks for who you are while it is imported.
    from kagglesdk import KaggleClient
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = dataset.split("/")
    request.dataset_version_number = version
    client = KaggleClient(username=os.environ.get("KAGGLE_USERNAME"), password=os.environ.get("KAGGLE_KEY"))
    with client:
        session = client.http_client()._session
        session.headers.update(headers)
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Limited())
        return client.datasets.dataset_api_client.download_dataset(request)


class _Limited(requests.adapters.HTTPAdapter):
    """Requests that do not wait for ever, as those of the client would."""

    def send(self, *request: Any, **options: Any) -> requests.Response:
        return super().send(*request, **options | {"timeout": download.TIMEOUT})


def _damage(archive: Path) -> str:
    """Read every member against its checksum, and say what is wrong; empty if nothing is."""
    try:
        with zipfile.ZipFile(archive) as content:
            broken = content.testzip()
    except Exception as error:  # zlib, lzma, struct and others, depending on the damage
        return str(error) or type(error).__name__
    return f"{broken} does not match its checksum" if broken else ""


def _explain(dataset: str, version: int | None, error: requests.RequestException) -> str:
    """Say in one line what happened and what to do."""
    page = PAGE + dataset
    if error.response is None:
        return (
            f"Kaggle cannot be reached, or the connection broke ({type(error).__name__}); check the network and "
            f"run `dvc repro` again, or download the archive from {page} and set data.source to its path"
        )
    status = error.response.status_code
    which = f"version {version} of {dataset}" if version else dataset
    advice = {
        401: f"correct {CREDENTIALS}, or unset them: public data sets need none",
        403: f"accept its terms while logged in there, then give credentials in {CREDENTIALS}",
        404: "check data.kaggle.dataset and data.kaggle.version",
        429: f"run `dvc repro` again later, or give credentials in {CREDENTIALS}",
    }.get(status, "run `dvc repro` again later")
    return f"Kaggle did not send {which} ({status}), see {page}; {advice}"
