"""Predictions, parameters and models of any run of the pipeline, read through DVC; units of its test scans."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo
from dvc.scm import NoSCMError, RevError
from dvc_data.index import DataIndexError
from pydantic import BaseModel, ValidationError

from trueslice.errors import UserError
from trueslice.files import whole_folder
from trueslice.params import flat, read_yaml
from trueslice.records.timing import Timing
from trueslice.report.format import counted
from trueslice.tables.predictions import Predictions

PREDICTIONS = "plots/predictions.csv"
# Git would read others as paths in a commit, or as patterns.
NAME = r"(?!.*\^\{)[^\s:?*\[\\\ud800-\udfff]{1,250}"
PREDICTING = ("download", "checkpoint", "verify", "split", "train", "predict")  # the stages that lead to them


def read_predictions(revisions: Sequence[str]) -> dict[str, Predictions]:
    """Read the predictions of several runs of the pipeline, by revision: at least one scan, each path once.

    Args:
        revisions: each a commit, branch or tag, the name of an experiment, or `workspace`
            for the files as they are now. A name that two experiments have belongs to the one that started at HEAD.

    Raises:
        UserError: this is not a DVC repository, or a revision is unknown, or named twice, or it holds no predictions,
            or they are damaged, or older than its model.
    """
    if twice := [name for name in revisions if revisions.count(name) > 1]:
        raise UserError(f"{twice[0]} is named twice; name every run once")
    runs = {}
    for revision in revisions:
        _refuse_stale(revision)
        text = read_text(revision, PREDICTIONS)
        try:
            runs[revision] = Predictions.parse(text)
            if len(runs[revision]) == 0:
                raise ValueError("it holds no scan")
            if len(set(runs[revision].path.tolist())) < len(runs[revision]):
                raise ValueError("a path is in it twice")
        except ValueError as error:
            raise UserError(f"{revision}: {PREDICTIONS} cannot be used: {error}; run the pipeline again") from None
    return runs


def read_params(revision: str) -> dict:
    """Read params.yaml of one run of the pipeline.

    Raises:
        UserError: as above; or it is not YAML, or lacks split.fold, split.folds or seed.
    """
    try:
        params = read_yaml(read_text(revision, "params.yaml"))
        params["split"]["fold"], params["split"]["folds"], params["seed"]
    except ValueError as error:
        raise UserError(f"{revision}: params.yaml is {error}; name another run") from None
    except (TypeError, KeyError):
        lacks = "params.yaml lacks split.fold, split.folds or seed"
        raise UserError(f"{revision}: {lacks}; run the pipeline as it is now") from None
    return params


def read_device(revision: str) -> str | None:
    """Read on which device a run was trained; None where it does not say so, or an older version said so."""
    try:
        return Timing.model_validate_json(read_text(revision, "metrics/timing.json", missing="{}")).train[0].device
    except (ValidationError, IndexError):
        return None


class Units(NamedTuple):
    """The independent units of the test scans: patients, or groups of copies where no patient is known."""

    name: str  # of one, as short as can be
    plural: str
    scans: str  # how many scans in how many units, as a phrase


def units(predictions: Predictions) -> Units:
    """Name and count the units of the test scans."""
    known = predictions.patient != ""
    count, of_patients = (len(np.unique(unit)) for unit in (predictions.unit, predictions.unit[known]))
    patients, scans = len(np.unique(predictions.patient[known])), counted(len(predictions), "test scan")
    if not known.any():
        return Units("group", "groups of copies", f"{scans} in {counted(count, 'group')} of copies")
    if count == patients == of_patients:
        return Units("patient", "patients", f"{scans} of {counted(count, 'patient')}")
    copies = counted(count - of_patients, "group")
    phrase = f"{scans} in {counted(count, 'unit')}: {counted(patients, 'patient')} and {copies} of copies"
    return Units("unit", "units", phrase)


def unknown_patients(predictions: Predictions) -> str | None:
    """Return the sentence on patients that are not known."""
    unknown = int((predictions.patient == "").sum())
    if not unknown:
        return None
    if unknown == len(predictions):
        return "No patient is known. Scans of one patient err together, so the intervals are too narrow."
    whose = "The patient of 1 scan is" if unknown == 1 else f"The patients of {unknown:,} scans are"
    return f"{whose} not known. Scans of one patient err together, so the intervals are too narrow there."


class _File(BaseModel):
    path: str
    md5: str = ""


class StageRun(BaseModel):
    """Entry of a stage in dvc.lock: the files that it read and wrote, and its parameters by file."""

    deps: list[_File] = []
    outs: list[_File] = []
    params: dict[str, dict[str, Any]] = {}


class _Lock(BaseModel):
    stages: dict[str, StageRun] = {}


def read_lock(revision: str, text: str) -> dict[str, StageRun]:
    """Read the stages in the text of a run's dvc.lock, which may be empty.

    Raises:
        UserError: it is not as DVC writes it.
    """
    try:
        return _Lock.model_validate(read_yaml(text) or {}).stages
    except ValidationError:
        problem = "not as DVC writes it"
    except ValueError as error:
        problem = str(error)
    raise UserError(f"{revision}: dvc.lock is {problem}; `git restore dvc.lock` brings the last one back")


def is_stale(lock: Mapping[str, StageRun], stages: Sequence[str] = PREDICTING) -> bool:
    """Return True if one of these stages read a file that has been made anew since, by the stages in dvc.lock.

    So an experiment that ended with the training has the predictions of another model.
    """
    made = {out.path: out.md5 for stage in lock.values() for out in stage.outs}
    read = [dep for name in stages if name in lock for dep in lock[name].deps]
    return any(made.get(dep.path, dep.md5) != dep.md5 for dep in read)


def has_run(lock: Mapping[str, StageRun], settings: Mapping[str, object], stages: Sequence[str] = PREDICTING) -> bool:
    """Return True if these stages ran with these parameters, by their dotted names, by the stages in dvc.lock."""
    used = [lock[name].params.get("params.yaml", {}) for name in stages if name in lock]
    return all(settings.get(key) == value for of_stage in used for key, value in flat(of_stage).items())


def _refuse_stale(revision: str) -> None:
    lock = read_lock(revision, read_text(revision, "dvc.lock", missing=""))
    try:
        settings = flat(read_yaml(read_text(revision, "params.yaml", missing="{}")))
    except (ValueError, AttributeError):
        raise UserError(f"{revision}: params.yaml is not valid YAML; correct it, or name another run") from None
    if not has_run(lock, settings):
        raise UserError(f"{revision}: its parameters have changed since it ran; run `dvc repro` first")
    if is_stale(lock):
        raise UserError(f"{revision}: {PREDICTIONS} is older than its model; run that experiment to its end")


def fetch_model(revision: str, path: str) -> Path:
    """Copy the folder `path` as a run of the pipeline left it to .cache/models, once, and return the copy.

    Raises:
        UserError: as for `read_predictions`; or the run has no such folder, or the cache lacks it.
    """
    lock = read_lock(revision, read_text(revision, "dvc.lock", missing=""))
    hashes = [out.md5 for stage in lock.values() for out in stage.outs if out.path == path]
    if not hashes:
        raise UserError(f"{revision} has no {path}; run the pipeline there, and commit what it wrote")
    folder = Path(Repo.find_root(), ".cache/models", hashes[0].removesuffix(".dir"))
    try:
        if not folder.exists():
            with opened(revision, path) as repo, whole_folder(folder) as new:
                repo.dvcfs.get(f"/{path}", str(new / "model"), recursive=True)
    except (FileNotFoundError, DataIndexError):
        problem = f"{revision}: {path} is not in DVC's cache"
        raise UserError(f"{problem}; bring it by `dvc fetch`, or run the pipeline there again") from None
    return folder / "model"


def read_text(revision: str, path: str, missing: str | None = None) -> str:
    """Read a text file of a run; return `missing`, if given, where the run has no file at `path`."""
    try:
        with opened(revision, path) as repo:
            return repo.dvcfs.read_text(f"/{path}", encoding="utf-8", newline="")
    except FileNotFoundError:
        if missing is not None:
            return missing
        raise UserError(f"{revision} has no {path}; run the pipeline there, and commit what it wrote") from None
    except UnicodeDecodeError:
        raise UserError(f"{revision}: {path} cannot be used: it is not text; run the pipeline again") from None


@contextmanager
def opened(revision: str, path: str) -> Iterator[Repo]:
    """Open the repository as it is in a run; errors of DVC, also in reading `path`, become a UserError."""
    if not re.fullmatch(NAME, revision):
        raise UserError(f"{revision[:50]!r} cannot be a revision or experiment; `trueslice runs` names them")
    try:
        with Repo() as repo, repo.switch(revision):
            yield repo
    except NotDvcRepoError:
        raise UserError("this folder is not in a DVC repository; start the command in the project's folder") from None
    except NoSCMError:
        raise UserError(f"{revision}: without Git there is only `workspace`, the files as they are now") from None
    except RevError as error:
        if "ambiguous" in str(error):
            raise UserError(f"{revision}: several experiments have this name; give the commit (dvc exp list)") from None
        raise UserError(f"{revision}: no such revision or experiment; `trueslice runs` names them") from None
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError):  # a value of YAML that Python does not have
        raise UserError(
            f"{revision}: DVC can't read dvc.yaml, or a file beside it; look what has changed there"
        ) from None
    except DvcException as error:
        raise UserError(f"{revision}: DVC can't read {path}: {' '.join(str(error).split())}") from None
