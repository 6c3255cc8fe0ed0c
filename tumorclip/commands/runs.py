"""What commands over several runs share: the predictions of any run, and how a command ends."""

import csv
import io
import sys
from collections.abc import Callable

from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo
from dvc.scm import NoSCMError, RevError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tumorclip.errors import UserError

PREDICTIONS = "plots/predictions.csv"
PARAMS = "params.yaml"
REQUIRED = ("path", "pixel_hash", "group", "leaked", "actual", "predicted")
PROBABILITY = "probability_"


def read_predictions(revision: str) -> list[dict[str, str]]:
    """The rows of plots/predictions.csv in one run of the pipeline, read through DVC without a checkout.

    Args:
        revision: a commit, branch or tag, the name of an experiment as `dvc exp show` lists it, or `workspace` for
            the files as they are now. A name that two experiments have belongs to the one that started at HEAD.

    Returns:
        One dict per test scan, in the file's order, with the columns of the file. There is at least one; `path`
        occurs once; `actual` and `predicted` are among `class_names(rows)`; every probability is a share.

    Raises:
        UserError: this is no DVC repository, the revision is unknown, it holds no predictions, or they are damaged.
    """
    text = _read(revision, PREDICTIONS)
    try:
        return _rows(text)
    except ValueError as error:
        raise UserError(f"{revision}: {PREDICTIONS} is damaged: {error}; run the pipeline again") from None


def read_params(revision: str) -> dict:
    """The content of params.yaml in one run of the pipeline, read as `read_predictions` does.

    Raises:
        UserError: as there; or it is no YAML, or lacks split.fold, split.folds or train.seed.
    """
    try:
        params = YAML(typ="safe").load(_read(revision, PARAMS))
        params["split"]["fold"], params["split"]["folds"], params["train"]["seed"]
    except YAMLError:
        raise UserError(f"{revision}: {PARAMS} is no valid YAML; name another run") from None
    except (TypeError, KeyError):
        raise UserError(
            f"{revision}: {PARAMS} lacks split.fold, split.folds or train.seed; run the pipeline as it is now"
        ) from None
    return params


def class_names(rows: list[dict[str, str]]) -> list[str]:
    """The names of all classes in the order of their indices, which is that of the columns of probabilities."""
    return [name.removeprefix(PROBABILITY) for name in rows[0] if name.startswith(PROBABILITY)]


def finish(main: Callable[[], None]) -> None:
    """Run `main`, and end every foreseeable failure in one line and with status 1."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _read(revision: str, path: str) -> str:
    try:
        with Repo() as repo, repo.switch(revision):
            return repo.dvcfs.read_text(f"/{path}", encoding="utf-8", newline="")
    except NotDvcRepoError:
        raise UserError("this folder belongs to no DVC repository; start the command in the project's folder") from None
    except NoSCMError:
        raise UserError(f"{revision}: this folder is no Git repository, so there is only `workspace` to read") from None
    except RevError as error:
        if "ambiguous" in str(error):
            raise UserError(f"{revision}: several experiments have this name; give the commit (dvc exp show)") from None
        raise UserError(f"{revision}: no such revision or experiment; `dvc exp show` lists them") from None
    except FileNotFoundError:
        raise UserError(f"{revision} has no {path}; run the pipeline there, and commit what it wrote") from None
    except UnicodeDecodeError:
        raise UserError(f"{revision}: {path} is damaged: it is no text; run the pipeline again") from None
    except DvcException as error:
        raise UserError(f"{revision}: DVC can't read {path}: {' '.join(str(error).split())}") from None


def _rows(text: str) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows = list(reader)
    if missing := [name for name in REQUIRED if name not in (reader.fieldnames or ())]:
        raise ValueError(f"it has no column {missing[0]}")
    if not rows:
        raise ValueError("it holds no scan")
    classes = class_names(rows)
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise ValueError(f"line {line} has another number of columns than the first")
        if unknown := {row["actual"], row["predicted"]} - set(classes):
            raise ValueError(f"line {line} names {min(unknown)!r}, which has no column {PROBABILITY}{min(unknown)}")
        if not all(_is_share(row[PROBABILITY + name]) for name in classes):
            raise ValueError(f"line {line} has a probability that is no number from 0 to 1")
    if len({row["path"] for row in rows}) < len(rows):
        raise ValueError("a path stands in it twice")
    return rows


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
