"""params.yaml as typed, checked values: the only declaration of a parameter."""

import datetime
import difflib
import re
import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML, SafeConstructor
from ruamel.yaml.constructor import ConstructorError
from ruamel.yaml.error import YAMLError, YAMLStreamError
from ruamel.yaml.nodes import ScalarNode

from trueslice.choices import LOSSES, TUNING
from trueslice.errors import ParamsError


def _like(pattern: str, allowed: str) -> AfterValidator:
    """Return a check that a text matches all of `pattern`; `allowed` says in words what that is."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise PydanticCustomError("pattern", "it must be {allowed}", {"allowed": allowed})
        return text

    return AfterValidator(check)


def _one_of(names: Collection[str]) -> AfterValidator:
    """Return a check that a text is one of `names`."""
    *others, last = map(repr, names)
    return _like("|".join(map(re.escape, names)), f"{', '.join(others)} or {last}")


Seed = Annotated[int, Field(ge=0, lt=2**32)]
Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1), _like(r"[^\0]*", "text without a null character")
]
Share = Annotated[float, Field(gt=0, lt=1)]
Threshold = Annotated[float, Field(gt=0, le=1)]
# What `trueslice.sources.phantom` draws; here, since params.yaml alone must show whether it fits.
PHANTOM_CLASSES = ("glioma", "meningioma", "notumor", "pituitary")


def _folder_names(classes: dict[str, list[str]]) -> dict[str, list[str]]:
    """Check names and captions of classes, and sort them by name."""
    for name in classes:
        if not re.fullmatch(r"[^\W.][\w. -]*", name):
            advice = "use letters, digits, _ - . and spaces"
            raise ValueError(f"{name!r} cannot be the name of a class folder; {advice}")
    owner: dict[str, str] = {}
    for name, captions in classes.items():
        for caption in captions:
            if owner.setdefault(caption, name) != name:
                raise ValueError(f"{owner[caption]} and {name} have the same caption, {caption!r}; change one")
    return dict(sorted(classes.items()))


Captions = Annotated[list[Text], Field(min_length=1)]
# Captions by class; a name is also that of a folder, and its position the class index.
Classes = Annotated[dict[Text, Captions], Field(min_length=2), AfterValidator(_folder_names)]
Device = Annotated[str, _like(r"auto|cpu|cuda(:(0|[1-9][0-9]{0,2}))?|mps", "auto, cpu, cuda, cuda:N or mps")]


class Section(BaseModel):
    """Group of keys; unknown keys, other types and NaN are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Checked = TypeVar("Checked", bound=Section)


class Phantom(Section):
    """Number and seed of drawn scans."""

    seed: Seed
    train_per_class: Annotated[int, Field(ge=2, le=100_000)]
    test_per_class: Annotated[int, Field(ge=1, le=100_000)]


class Kaggle(Section):
    """A data set on Kaggle, by version and hash of its archive."""

    dataset: Annotated[str, _like(r"[\w.-]+/[\w.-]+", "owner/name, as in the data set's address on Kaggle")]
    version: Annotated[int, Field(ge=1)] | None
    sha256: Annotated[str, _like(r"[0-9a-f]{64}", "64 hexadecimal digits in lower case, or null")] | None


class Data(Section):
    """Source of the scans."""

    source: Text
    phantom: Phantom
    kaggle: Kaggle


class Checkpoint(Section):
    """Dual encoder to start from."""

    name: Text
    revision: Text | None
    image_size: Annotated[int, Field(ge=32, le=2048)] | None


class Decode(Section):
    """Decoding of a scan; a released model keeps these."""

    image_size: Annotated[int, Field(ge=16, le=2048)]
    colour: bool
    max_pixels: Annotated[int, Field(ge=1)]


class Verify(Decode):
    """Decoding, checks and the search for copies."""

    max_unreadable: Annotated[int, Field(ge=0)]
    copy_threshold: Threshold
    local_threshold: Threshold
    min_overlap: Threshold
    patients: Text | None
    decisions: Text
    device: Device


class Split(Section):
    """Division into training, validation and test scans."""

    protocol: Literal["official", "grouped", "blocked", "patients"]
    leaks: Literal["drop_train", "drop_test", "keep", "drop_random"]
    conflicts: Literal["drop", "keep"]
    copies: Literal["all", "one"]
    blocks: Annotated[int, Field(ge=2)]
    folds: Annotated[int, Field(ge=2)] | None
    fold: Annotated[int, Field(ge=1)]
    validation_share: Share
    test_share: Share
    seed: Seed

    @model_validator(mode="after")
    def _fold_exists(self) -> "Split":
        if self.fold > (self.folds or 1):
            folds = self.folds or "null"
            advice = "give a fold from 1 to folds, or 1 where that is null"
            raise ValueError(f"fold is {self.fold}, but folds is {folds}; {advice}")
        return self


class Lora(Section):
    """Low-rank additions, for `tune: lora`."""

    rank: Annotated[int, Field(ge=1)]
    alpha: Annotated[float, Field(gt=0)]
    targets: Annotated[list[Text], Field(min_length=1)]


class Train(Section):
    """Fine-tuning."""

    objective: Annotated[str, _one_of(LOSSES)]
    captions: Literal["random", "mean"]
    tune: Annotated[str, _one_of(TUNING)]
    lora: Lora
    views: Annotated[int, Field(ge=1, le=100)]
    blocks: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]
    patience: Annotated[int, Field(ge=1)] | None
    batch_size: Annotated[int, Field(ge=2)]
    accumulation: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0, lt=1)]
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)]
    max_gradient_norm: Annotated[float, Field(gt=0)] | None
    max_logit_scale: Annotated[float, Field(ge=1)] | None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    balance: Literal["none", "sampler", "weights"]
    ema: Share | None
    wise_ft: bool
    horizontal_flip: Annotated[float, Field(ge=0, le=1)]
    rotation: Annotated[float, Field(ge=0, le=180)]
    translation: Annotated[float, Field(ge=0, lt=1)]
    scale: Annotated[float, Field(ge=0, lt=1)]
    precision: Literal["auto", "fp32", "bf16"]
    compile: bool
    device: Device

    @model_validator(mode="after")
    def _go_together(self) -> "Train":
        if self.layer_decay < 1 and not TUNING[self.tune].layer_decay:
            raise ValueError(
                f"layer_decay has no meaning for tune {self.tune}; set it to 1, or take full, vision or blocks"
            )
        if self.label_smoothing and not LOSSES[self.objective].label_smoothing:
            advice = "set it to 0, or take another objective"
            raise ValueError(f"label_smoothing has no meaning for {self.objective}; {advice}")
        if self.accumulation > self.batch_size:
            problem = f"a batch has only {self.batch_size} scans to divide"
            raise ValueError(f"accumulation is {self.accumulation}, but {problem}; lower it")
        return self


class Evaluate(Section):
    """Scores, beyond those that are always computed."""

    negative_class: Text | None
    by: list[Text]
    sensitivities: list[Share]
    prevalences: list[Share]
    max_error: Annotated[float, Field(ge=0.01, le=0.5)] | None


class Explain(Section):
    """Masks against which explanations are measured."""

    masks: Text | None


class External(Section):
    """Another data set to test on."""

    name: Annotated[str, _like(r"[\w-]+", "made of letters, digits, _ and -")]
    source: Text
    classes: dict[Text, Text] | None

    def check_folders(self, folders: Collection[str], class_names: Collection[str]) -> None:
        """Raise a ValueError if the names of the set's class folders fit neither its `classes` nor `class_names`."""
        classes, listed = self.classes or {}, ", ".join(sorted(folders))
        if missing := sorted(classes.keys() - set(folders)):
            problem = f"`classes` names {', '.join(missing)}, not among its folders ({listed}); correct the names"
            raise ValueError(f"external: {self.name}: {problem}")
        if not {classes.get(folder, folder) for folder in folders} & set(class_names):
            problem = f"none of its folders ({listed}) is named like a class ({', '.join(class_names)})"
            raise ValueError(f"external: {self.name}: {problem}; tell by `classes` which class each folder holds")


class Machine(Section):
    """Use of this machine; it changes no result."""

    workers: Annotated[int, Field(ge=0, le=1024)]
    launcher: str
    save_interval: Annotated[float, Field(ge=0)]


class Params(Section):
    """All of params.yaml."""

    seed: Seed
    data: Data
    checkpoint: Checkpoint
    verify: Verify
    split: Split
    train: Train
    evaluate: Evaluate
    explain: Explain
    external: list[External]
    classes: Classes
    machine: Machine

    @model_validator(mode="after")
    def _phantoms_fit(self) -> "Params":
        if self.data.source == "phantom" and set(self.classes) != set(PHANTOM_CLASSES):
            advice = "set data.source to your scans, or take these classes"
            raise ValueError(f"data.source is phantom, which draws {', '.join(PHANTOM_CLASSES)}; {advice}")
        return self

    @model_validator(mode="after")
    def _negative_class_exists(self) -> "Params":
        negative = self.evaluate.negative_class
        if negative is not None and negative not in self.classes:
            advice = f"give one of {', '.join(self.classes)}, or null"
            raise ValueError(f"evaluate.negative_class is {negative!r}, which is not a class; {advice}")
        return self

    @model_validator(mode="after")
    def _external_sets_fit(self) -> "Params":
        names = [each.name for each in self.external]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"external: two data sets are called {twice[0]}; give each a name of its own")
        for each in self.external:
            if unknown := [name for name in (each.classes or {}).values() if name not in self.classes]:
                advice = f"give one of {', '.join(self.classes)}"
                raise ValueError(f"external: {each.name}: {unknown[0]!r} is not a class; {advice}")
            if each.source == "phantom" and each in self.external_sets:
                each.check_folders(PHANTOM_CLASSES, self.classes)
        return self

    @property
    def external_sets(self) -> list[External]:
        """The sets of `external` that are tested; phantoms are no test of a model of real scans."""
        return [each for each in self.external if each.source != "phantom" or self.data.source == "phantom"]

    @property
    def class_names(self) -> list[str]:
        """Class names, sorted; the position of a name is its class index."""
        return list(self.classes)


class _Constructor(SafeConstructor):
    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Make a value; name its place where Python has none: month 13, a number of 4,301 digits, an unknown tag."""
        try:
            return super().construct_object(node, deep)
        except Exception:  # of any kind, depending on the value
            if not isinstance(node, ScalarNode):
                raise
            problem = "this value cannot be read; correct it, or put it in quotes"
            raise ConstructorError(None, None, problem, node.start_mark) from None


def read_yaml(text: str) -> Any:
    """Return the content of YAML 1.2, as DVC reads it: `1e-05` is a number, while PyYAML would give a string.

    Raises:
        ValueError: it is not valid; the message says where.
    """
    yaml = YAML(typ="safe", pure=True)  # its messages are the same with and without ruamel.yaml.clib
    yaml.Constructor = _Constructor
    try:
        return yaml.load(text)
    except (YAMLError, YAMLStreamError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it is nested too deeply, or has control characters"
        if merge := re.search("^(<{7}|={7}|>{7})", text, re.MULTILINE):
            where = f" at line {text[: merge.start()].count(chr(10)) + 1}"
            problem = "it has the marks of a merge; keep one side of it"
        raise ValueError(f"not valid YAML{where}: {' '.join(str(problem).split())}") from None


def load(path: Path) -> Params:
    """Read and check the whole of `path`.

    Raises:
        ParamsError: the file is missing, is not YAML, or holds an unknown key, a wrong type or a value out of range.
    """
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing; run from the repository's root, or: git restore {path}") from None
    except UnicodeDecodeError:
        raise ParamsError(f"{path} is not UTF-8 text; git restore {path} brings the last one back") from None
    except ValueError as error:
        raise ParamsError(f"{path} is {error}") from None
    if not isinstance(content, dict):
        raise ParamsError(f"{path} holds no parameters; git restore {path} brings the last ones back")
    return check(Params, content, str(path))


def flat(settings: Mapping, prefix: str = "") -> dict[str, Any]:
    """Return nested settings by their dotted keys.

    >>> flat({"seed": 0, "train": {"lora": {"rank": 4}}})
    {'seed': 0, 'train.lora.rank': 4}
    """
    values: dict[str, Any] = {}
    for key, setting in settings.items():
        values |= flat(setting, f"{prefix}{key}.") if isinstance(setting, Mapping) else {f"{prefix}{key}": setting}
    return values


def differences(before: str, after: str) -> dict[str, tuple[str, str]]:
    """Return both values of each setting that differs in two texts of params.yaml, by its key; a dash for none.

    Raises:
        ValueError: a text is not valid YAML, or no mapping.
    """
    old, new = (flat(read_yaml(text)) for text in (before, after))
    differ = [key for key in sorted(old | new) if key not in old or key not in new or old[key] != new[key]]
    return {key: (str(old.get(key, "–")), str(new.get(key, "–"))) for key in differ}


def check(section: type[Checked], content: Mapping, where: str) -> Checked:
    """Return `content` as checked values.

    Raises:
        ParamsError: a key of `where` is missing or unknown, or a value has a wrong type or is out of range.
    """
    try:
        return section.model_validate(content)
    except ValidationError as error:
        raise ParamsError(f"{where}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    # An unknown key comes first: misspelling one key also makes the right one missing.
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    problem = problems[0]
    is_unknown = problem["type"] == "extra_forbidden"
    more = sum(not is_unknown or other["type"] != "missing" for other in problems[1:])
    # pydantic marks the key of a dict, where that and not its value is wrong, by a further part.
    key, given = ".".join(map(str, problem["loc"])).removesuffix(".[key]"), problem["input"]
    if is_unknown:
        line = f"unknown key {key}; {_known_keys(problem['loc'])}"
    elif problem["type"] == "missing":
        line = f"{key} is missing; it has no default, so give it a value"
    elif problem["type"] == "value_error":
        line = f"{key + ': ' if key else ''}{problem['ctx']['error']}"
    elif problem["type"] in ("string_type", "invalid_key") and isinstance(given, (int, float, datetime.date)):
        line = f"{key}: {_shown(given)} is no text for YAML; put it in quotes"
    else:
        line = f"{key} is {_shown(given)}; {problem['msg'].replace('Input', 'it').replace('should', 'must')}"
    return line + (f" (and {more} more)" if more else "")


def _shown(value: object) -> str:
    """Return a value for a message, without the rest of a long one."""
    if isinstance(value, int) and abs(value) >= 10**100:
        return "a number of more than 100 digits"
    if isinstance(value, (int, float, datetime.date)):
        return str(value)
    short = reprlib.Repr()
    short.maxstring = short.maxother = 100
    short.maxlevel = 2
    return short.repr(value)


def _known_keys(place: tuple[str | int, ...]) -> str:
    """Say which key is meant by the unknown one at the end of `place`, or else which there are."""
    section: Any = Params
    for part in place[:-1]:
        # A number is a place in a list of sections.
        section = get_args(section)[0] if isinstance(part, int) else section.model_fields[part].annotation
    if alike := difflib.get_close_matches(str(place[-1]), section.model_fields, 1):
        return f"did you mean {alike[0]}?"
    return f"the keys there are {', '.join(section.model_fields)}"
