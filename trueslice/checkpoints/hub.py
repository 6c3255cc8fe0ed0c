"""A checkpoint from the Hugging Face hub; every file of it must have the hash that the hub lists."""

import errno
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trueslice.errors import UserError

TIMEOUT = 30.0  # seconds without a byte
SUPPORT = (
    r"config\.json|preprocessor_config\.json|processor_config\.json|tokenizer\.json|tokenizer_config\.json|"
    r"vocab\.(json|txt)|merges\.txt|special_tokens_map\.json|added_tokens\.json|(spiece|tokenizer|sentencepiece[^/]*)\.model"
)
SHARD = r"(-\d{5}-of-\d{5})?"
PAGE = "https://huggingface.co/"
# By the client's exceptions, a kind before those that it is a kind of.
MESSAGES = {
    "HFValidationError": (
        "checkpoint.name is '{name}': neither tiny, tiny_conv, lite, a folder, nor a Hugging Face id (owner/name)"
    ),
    "OfflineModeIsEnabled": (
        "only a part of {name} is in the cache, or nothing; unset HF_HUB_OFFLINE once to download it"
    ),
    "GatedRepoError": ("{name} is gated; accept its terms at {page}{name} and set HF_TOKEN to a token of that account"),
    "RevisionNotFoundError": (
        "{name} has no revision {revision}; set checkpoint.revision to a commit listed at {page}{name}"
    ),
    "RepositoryNotFoundError": (
        "there is no folder and no Hugging Face repository {name}; correct checkpoint.name, "
        "or set HF_TOKEN if the repository is private"
    ),
}
# In order of preference: the second is a pickle, of which transformers reads the weights only.
WEIGHTS = [rf"model{SHARD}\.safetensors(\.index\.json)?", rf"pytorch_model{SHARD}\.bin(\.index\.json)?"]


def fetch(name: str, revision: str | None, into: Path) -> str:
    """Bring configuration, tokenizer, image processor and weights into the empty folder `into`, and return the commit.

    `name` is owner/name; `revision` a commit, branch or tag, None for the main branch. Files come through the hub's own
    cache, which also serves without a network if it is complete. A damaged file is deleted from it.

    Raises:
        UserError: no such repository or revision, no access, no network, no weights in it, or a damaged file.
    """
    from huggingface_hub import get_cached_repo_tree, resolve_revision, set_client_factory, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    set_client_factory(_client)
    try:
        commit = resolve_revision(name, revision=revision).resolved
        cached = Path(snapshot_download(name, revision=commit, allow_patterns=["config.json"]))
        try:
            listed = get_cached_repo_tree(name, revision=commit)
            files = _choose([file.path for file in listed], name)
        except CachedRepoTreeNotFoundError:  # there is no network, and another program filled the cache
            listed = []
            files = _choose([file.name for file in cached.iterdir()], name)
        snapshot_download(name, revision=commit, allow_patterns=files)
    # The hub's client, its two ways of transport and its cache raise kinds that share no base.
    except Exception as error:
        if isinstance(error, UserError) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
            raise
        raise UserError(_explain(error, name, revision or "main")) from error
    if damaged := _copy(name, listed, files, cached, into):
        problem = f"{', '.join(damaged)} of {name} does not match the hash that the hub lists"
        raise UserError(f"{problem}, and was deleted from the cache; run `dvc repro` again, connected to the network")
    return commit


def _choose(files: Iterable[str], name: str) -> list[str]:
    support = [file for file in files if re.fullmatch(SUPPORT, file)]
    for layout in WEIGHTS:
        if weights := [file for file in files if re.fullmatch(layout, file)]:
            return sorted(support + weights)
    raise UserError(
        f"{name} holds no weights as model.safetensors or pytorch_model.bin; "
        "set checkpoint.name to a checkpoint of CLIP, or checkpoint.revision to a commit that has them"
    )


def _copy(name: str, listed: list, files: list[str], cached: Path, into: Path) -> list[str]:
    """Copy files from the cache, and return the names of damaged ones, which are deleted there."""
    from huggingface_hub import HfApi

    for file in files:
        shutil.copyfile(cached / file, into / file)
    api = HfApi()
    # The client would ask the hub for the listing, which may be out of reach.
    vars(api)["list_repo_tree"] = lambda **_: listed
    damaged = [file["path"] for file in api.verify_repo_checksums(name, local_dir=into).mismatches]
    for file in damaged:
        (cached / file).resolve().unlink()  # in the cache it is a link to the download
        (cached / file).unlink(missing_ok=True)
    return damaged


def _client() -> Any:
    """Return the hub's client, with a time limit for requests without one, such as those for lists of files."""
    from huggingface_hub.utils._http import default_client_factory

    def limit(request: Any) -> None:
        given = request.extensions.get("timeout", {})
        kinds = ("connect", "read", "write", "pool")
        request.extensions["timeout"] = {kind: given.get(kind) or TIMEOUT for kind in kinds}

    client = default_client_factory()
    client.event_hooks["request"].append(limit)
    return client


def _explain(error: BaseException, name: str, revision: str) -> str:
    """Say in one line what happened and what to do."""
    from huggingface_hub import errors

    if isinstance(error, (errors.LocalEntryNotFoundError, errors.RevisionResolutionError)) and error.__cause__:
        # Raised where the hub failed and the cache does not help either.
        error = error.__cause__
    for kind, message in MESSAGES.items():
        if isinstance(error, getattr(errors, kind)):
            return message.format(name=name, revision=revision, page=PAGE)
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else 0
    if status in (401, 403):
        return f"the hub refused access to {name} ({status}); correct or unset HF_TOKEN, and see {PAGE}{name}"
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return (
        f"the hub cannot be reached, or the connection broke, for {name} ({reason}); check the network and run "
        "`dvc repro` again, or set checkpoint.name to a folder with the checkpoint, or to tiny"
    )
