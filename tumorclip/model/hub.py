"""A checkpoint from the Hugging Face hub, every file of it held to the hash under which the hub lists it."""

import contextlib
import errno
import hashlib
import re
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tumorclip.errors import UserError

ATTEMPTS = 4
FIRST_WAIT = 1.0  # seconds; doubles with every attempt
TIMEOUT = 30.0  # seconds without a byte
SUPPORT = re.compile(
    r"config\.json|preprocessor_config\.json|processor_config\.json|tokenizer\.json|tokenizer_config\.json|"
    r"vocab\.(json|txt)|merges\.txt|special_tokens_map\.json|added_tokens\.json|(spiece|tokenizer|sentencepiece.*)\.model"
)
SHARD = r"(-\d{5}-of-\d{5})?"
# In order of preference: the second is a pickle, of which transformers reads the weights only.
WEIGHTS = [
    re.compile(rf"model{SHARD}\.safetensors(\.index\.json)?"),
    re.compile(rf"pytorch_model{SHARD}\.bin(\.index\.json)?"),
]


def fetch(name: str, revision: str | None, into: Path) -> str:
    """Bring configuration, tokenizer, image processor and weights of a checkpoint into the folder `into`.

    Files come through the hub's own cache. Without a network, or with HF_HUB_OFFLINE=1, what the cache
    holds is used if it is complete.

    Args:
        name: owner/name of the repository.
        revision: commit, branch or tag; None takes the main branch.

    Returns:
        The commit, 40 hexadecimal digits.

    Raises:
        UserError: no such repository or revision, no access, no network, no weights in it, or a file
            that is damaged twice; what was damaged is deleted from the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    commit, hashes, offline = _patiently(name, revision, lambda: _list(name, revision))
    files = _choose(hashes, name)
    for last in (False, True):
        snapshot = Path(
            _patiently(
                name,
                revision,
                lambda: snapshot_download(name, revision=commit, allow_patterns=files, local_files_only=offline),
            )
        )
        damaged = [file for file in files if not _copy(snapshot / file, into / file, hashes[file])]
        for file in damaged:
            _delete(snapshot / file)
        if not damaged:
            return commit
        if last or offline:
            break
        print(f"hub: {', '.join(damaged)} of {name} is damaged; downloading it again", file=sys.stderr)
    again = "connect to the network and run" if offline else "run"
    raise UserError(
        f"{', '.join(damaged)} of {name} does not match the hash that the hub lists, and was deleted from the cache; "
        f"{again} `dvc repro` again{'' if offline else ' later'}"
    )


def _list(name: str, revision: str | None) -> tuple[str, dict[str, str], bool]:
    """The commit, the hash of every file in the repository's top folder, and whether only the cache was asked.

    A hash is a SHA-256 (64 digits; large files) or a Git blob id (40 digits).
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        commit = api.resolve_revision(name, revision=revision).resolved
        files = api.model_info(name, revision=commit, files_metadata=True).siblings
    except Exception as error:
        if not _is_unreachable(error) or not (cached := _list_cached(name, revision)):
            raise
        print(f"hub: cannot be reached; using commit {cached[0]} of {name} from the cache", file=sys.stderr)
        return *cached, True
    hashes = {file.rfilename: file.lfs.sha256 if file.lfs else file.blob_id for file in files}
    return commit, {path: value for path, value in hashes.items() if "/" not in path}, False


def _list_cached(name: str, revision: str | None) -> tuple[str, dict[str, str]] | None:
    from huggingface_hub import get_cached_repo_tree, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=["config.json"], local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    # Each file of a snapshot is a link to one that has its hash for a name.
    hashes = {file.name: file.readlink().name if file.is_symlink() else "" for file in folder.iterdir()}
    with contextlib.suppress(CachedRepoTreeNotFoundError):  # the cache was filled by another program
        listed = {file.path for file in get_cached_repo_tree(name, revision=revision)}
        # A file that is listed but was never downloaded is found missing later, if it is needed.
        hashes |= dict.fromkeys((path for path in listed - set(hashes) if "/" not in path), "")
    return folder.name, hashes


def _choose(files: Iterable[str], name: str) -> list[str]:
    support = [file for file in files if SUPPORT.fullmatch(file)]
    for layout in WEIGHTS:
        if weights := [file for file in files if layout.fullmatch(file)]:
            return sorted(support + weights)
    raise UserError(
        f"{name} holds no weights as model.safetensors or pytorch_model.bin; "
        "set checkpoint.name to a checkpoint of CLIP, or checkpoint.revision to a commit that has them"
    )


def _copy(source: Path, target: Path, expected: str) -> bool:
    """Copy a file, and say whether the copy matches its hash."""
    shutil.copyfile(source, target)
    if not expected:
        # A cache on a disk without links, read offline: nothing there to compare with.
        return True
    digest = hashlib.sha256() if len(expected) == 64 else hashlib.sha1(f"blob {target.stat().st_size}\0".encode())
    with target.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest() == expected


def _delete(file: Path) -> None:
    """Delete a file of the hub's cache together with what it links to."""
    while file.is_symlink():
        target = file.parent / file.readlink()
        file.unlink()
        file = target
    file.unlink(missing_ok=True)


def _patiently(name: str, revision: str | None, request):
    """Return what `request` returns; try again after what may pass, and end other errors in a UserError."""
    for attempt in range(1, ATTEMPTS + 1):
        _limit_time()
        try:
            return request()
        # The hub's client, its two ways of transport and its cache raise kinds that share no base.
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            problem, lasting = _explain(error, name, revision)
            if lasting or attempt == ATTEMPTS:
                raise UserError(problem) from error
        wait = FIRST_WAIT * 2 ** (attempt - 1)
        print(f"hub: {problem.split('; ')[0]}; trying again in {wait:.0f} s", file=sys.stderr)
        time.sleep(wait)


def _limit_time() -> None:
    """Give the client's session a time limit for the requests that it sends without one."""
    from huggingface_hub.utils import get_session

    hooks = get_session().event_hooks["request"]
    if _with_limits not in hooks:
        hooks.append(_with_limits)


def _with_limits(request) -> None:
    given = request.extensions.get("timeout", {})
    limits = {kind: given.get(kind) or TIMEOUT for kind in ("connect", "read", "write", "pool")}
    request.extensions["timeout"] = limits


def _is_unreachable(error: Exception) -> bool:
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled, RevisionResolutionError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429) or error.response.status_code >= 500
    # HTTPError is also the base of what the client's HTTP library raises when a connection fails.
    return isinstance(error, (HTTPError, OfflineModeIsEnabled, RevisionResolutionError))


def _explain(error: Exception, name: str, revision: str | None) -> tuple[str, bool]:
    """What to tell the user, and whether another attempt would be in vain."""
    from huggingface_hub import errors

    page = f"https://huggingface.co/{name}"
    if isinstance(error, errors.HFValidationError):
        known = "neither tiny, tiny_conv, a folder, nor a Hugging Face id (owner/name)"
        return f"checkpoint.name is {name!r}: {known}", True
    if isinstance(error, errors.GatedRepoError):
        return f"{name} is gated; accept its terms at {page} and set HF_TOKEN to a token of that account", True
    if isinstance(error, errors.RevisionNotFoundError):
        return (
            f"{name} has no revision {revision or 'main'}; set checkpoint.revision to a commit listed at {page}",
            True,
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"there is no folder and no Hugging Face repository {name}; correct checkpoint.name, "
            "or set HF_TOKEN if the repository is private"
        ), True
    if isinstance(error, errors.HfHubHTTPError) and not _is_unreachable(error):
        status = error.response.status_code
        if status in (401, 403):
            return f"the hub refused access to {name} ({status}); correct or unset HF_TOKEN, and see {page}", True
        return f"the hub refused the request for {name} ({status}); check checkpoint.name against {page}", True
    offline = isinstance(error, errors.OfflineModeIsEnabled)
    offline = offline or isinstance(error.__cause__, errors.OfflineModeIsEnabled)
    if offline:
        return f"{name} is not in the cache, and HF_HUB_OFFLINE forbids the network; unset it once to download", True
    if isinstance(error, errors.IncompleteSnapshotError):
        return f"only a part of {name} is in the cache and the hub cannot be reached; connect to the network", True
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return (
        f"the hub cannot be reached, or the connection broke, for {name} ({reason}); check the network and run "
        "`dvc repro` again, or set checkpoint.name to a folder with the checkpoint, or to tiny"
    ), False
