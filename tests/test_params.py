import re
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from trueslice.errors import ParamsError
from trueslice.params import flat, load

ROOT = Path(__file__).parents[1]
COMMITTED = (ROOT / "params.yaml").read_text()


def changed(tmp_path: Path, old: str, new: str) -> Path:
    assert COMMITTED.count(old) == 1, f"{old!r} must stand once in params.yaml"
    path = tmp_path / "params.yaml"
    path.write_text(COMMITTED.replace(old, new))
    return path


def test_the_committed_file_is_valid_and_every_key_has_a_comment():
    params = load(ROOT / "params.yaml")
    assert params.class_names == ["glioma", "meningioma", "notumor", "pituitary"]
    for key in flat(YAML(typ="safe").load(COMMITTED)):
        name = key.split(".")[0 if key.startswith("classes.") else -1]
        # Beside the key, or, for a list, above.
        assert re.search(rf"^ *({name}:.*#|# +{name}: )", COMMITTED, re.MULTILINE), key


def outline(text: str) -> list[str]:
    """Keys, comments and empty lines of params.yaml, in their order, without values and items of lists."""
    text = re.sub(r"^external:.*\n([- ] .*\n)*", "external:\n", text, flags=re.MULTILINE)
    return re.findall(r"^ *\w+:|#.*|^$", text, re.MULTILINE)


OVERRIDES = {
    list: ("[]", "['so many words that they do not fit into one line of eighty columns, all of them',b]", "[a]", "[]"),
    bool: ("true", "false", "true", "false"),
    int: ("7", "0", "8", "9"),
    float: ("0.25", "1e-5", "1", "2.5"),
    str: ("x", "'so many words, that they do not fit into the eighty columns of one line: at all'", "''", "y"),
    type(None): ("x", "null", "5", "null"),
}


def test_overrides_by_dvc_change_the_lines_of_their_keys_alone(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(COMMITTED)
    keys = flat(YAML(typ="safe").load(COMMITTED))
    assert len(keys) > 60
    apply_overrides(path, ["seed=0"])  # as it is
    assert path.read_text() == COMMITTED
    for number in range(4):
        apply_overrides(path, [f"{key}={OVERRIDES[type(value)][number]}" for key, value in keys.items()])
        written = path.read_text()
        assert outline(written) == outline(COMMITTED)
        apply_overrides(path, [f"seed={OVERRIDES[int][number]}"])
        assert path.read_text() == written


# `dvc exp run -S` writes a small number back as 1e-05, which YAML 1.1 takes for a string.
@pytest.mark.parametrize("spelling", ["1e-05", "1e-5", "1E-5", "1.0e-05", "0.00001", ".00001", "+1e-5"])
def test_every_spelling_of_a_number_is_that_number(tmp_path, spelling):
    assert load(changed(tmp_path, "learning_rate: 1e-3 ", f"learning_rate: {spelling} ")).train.learning_rate == 1e-5


def test_an_integer_is_a_number_where_a_float_is_wanted(tmp_path):
    assert load(changed(tmp_path, "rotation: 10 ", "rotation: 0 ")).train.rotation == 0


def test_the_last_fold_is_allowed_and_the_one_behind_it_is_not(tmp_path):
    path = changed(tmp_path, "folds:   ", "folds: 3 ")
    text = path.read_text()
    path.write_text(text.replace("fold: 1 ", "fold: 3 "))
    assert load(path).split.fold == 3
    path.write_text(text.replace("fold: 1 ", "fold: 4 "))
    with pytest.raises(ParamsError, match="fold is 4, but folds is 3"):
        load(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs: 14 ", "epochs: -1 ", "train.epochs is -1; it must be greater than or equal to 1"),
        ("epochs: 14 ", "epochs: 1.5 ", "train.epochs is 1.5; it must be a valid integer"),
        ("epochs: 14 ", "epochs: true ", "train.epochs is True; it must be a valid integer"),
        ("epochs: 14 ", "epcohs: 15 ", "unknown key train.epcohs; did you mean epochs?"),
        ("learning_rate: 1e-3 ", "learning_rate: fast ", "train.learning_rate is 'fast'; it must be a valid number"),
        ("learning_rate: 1e-3 ", "learning_rate: .nan ", "train.learning_rate is nan"),
        ("learning_rate: 1e-3 ", "learning_rate: 0 ", "train.learning_rate is 0; it must be greater than 0"),
        ("device: auto ", "device: gpu ", "train.device is 'gpu'; it must be auto, cpu, cuda, cuda:N or mps"),
        ("objective: multi_positive ", "objective: best ", "train.objective is 'best'; it must be 'caption', '"),
        ("tune: full ", "tune: head ", "train.tune is 'head'; it must be 'full', 'vision', 'blocks', 'projection' or"),
        ("batch_size: 16 ", "batch_size: 1 ", "train.batch_size is 1; it must be greater than or equal to 2"),
        ("accumulation: 1 ", "accumulation: 17 ", "accumulation is 17, but a batch has only 16 scans to divide; lower"),
        ("ema:   ", "ema: 1 ", "train.ema is 1; it must be less than 1"),
        ("  blocks: 2  ", "  blocks: 0  ", "train.blocks is 0; it must be greater than or equal to 1"),
        ("patience:   ", "patience: 0 ", "train.patience is 0; it must be greater than or equal to 1"),
        ("balance: none ", "balance: classes ", "train.balance is 'classes'; it must be 'none', 'sampler' or"),
        ("precision: auto ", "precision: fp16 ", "train.precision is 'fp16'; it must be 'auto', 'fp32' or 'bf16'"),
        ("rank: 4 ", "rank: 0 ", "train.lora.rank is 0; it must be greater than or equal to 1"),
        ("targets:\n    - q_proj\n    - k_proj\n    - v_proj\n", "targets: []\n", "train.lora.targets is []; "),
        ("save_interval: 60 ", "save_interval: -1 ", "machine.save_interval is -1; it must be greater than or equal"),
        ("leaks: drop_train ", "leaks: hide ", "split.leaks is 'hide'; it must be 'drop_train', 'drop_test', 'keep' "),
        ("protocol: official ", "protocol: random ", "split.protocol is 'random'; it must be 'official', 'grouped', "),
        ("conflicts: drop ", "conflicts: hide ", "split.conflicts is 'hide'; it must be 'drop' or 'keep'"),
        ("copies: all ", "copies: none ", "split.copies is 'none'; it must be 'all' or 'one'"),
        ("blocks: 20 ", "blocks: 1 ", "split.blocks is 1; it must be greater than or equal to 2"),
        ("folds:   ", "folds: 1 ", "split.folds is 1; it must be greater than or equal to 2"),
        ("fold: 1 ", "fold: 0 ", "split.fold is 0; it must be greater than or equal to 1"),
        ("fold: 1 ", "fold: 2 ", "split: fold is 2, but folds is null; give a fold from 1 to folds"),
        ("validation_share: 0.15 ", "validation_share: 1 ", "split.validation_share is 1; it must be less than 1"),
        ("copy_threshold: 0.98 ", "copy_threshold: 0 ", "verify.copy_threshold is 0; it must be greater than 0"),
        ("copy_threshold: 0.98 ", "copy_threshold: 1.1 ", "verify.copy_threshold is 1.1; it must be less than"),
        ("local_threshold: 0.9 ", "local_threshold: 0 ", "verify.local_threshold is 0; it must be greater than 0"),
        ("min_overlap: 0.5 ", "min_overlap: 1.1 ", "verify.min_overlap is 1.1; it must be less than"),
        ("device: auto ", "device: cuda:01 ", "train.device is 'cuda:01'; it must be auto, cpu, cuda, cuda:N or mps"),
        ("device: auto ", "device: cuda:99999999999999999999 ", "train.device is 'cuda:99999999999999999999'; it must"),
        ("device: auto ", "device: cuda:\u0663 ", "train.device is 'cuda:\u0663'; it must be auto, cpu, cuda, cuda:N"),
        ("device: cpu ", "device: gpu ", "verify.device is 'gpu'; it must be auto, cpu, cuda, cuda:N or mps"),
        ("colour: false ", "colour: 1 ", "verify.colour is 1; it must be a valid boolean"),
        ("negative_class: notumor ", "negative_class: healthy ", "evaluate.negative_class is 'healthy', which is not"),
        ("source: phantom              # phantom (drawn", "source: ~  # (", "data.source is None; it must be a valid"),
        ("dataset: masoudnickparvar/brain-tumor-mri-dataset ", "dataset: brain ", "it must be owner/name"),
        ("name: other_scanner", "name: a/b", "external.0.name is 'a/b'; it must be made of letters, digits, _ and -"),
        ("- name: other_scanner", "- nmae: x\n  name: x", "unknown key external.0.nmae; did you mean name?"),
        ("  classes:\n", "  classes: {a: tumour}\n", "external: other_scanner: 'tumour' is not a class; give one of"),
        (
            "external:\n",
            "external:\n- {name: other_scanner, source: phantom, classes: null}\n",
            "external: two data sets are called other_scanner; give each a name of its own",
        ),
        ("  glioma:", "  ../glioma:", "'../glioma' cannot be the name of a class folder"),
        ("checkpoint:", "checkpoints:", "unknown key checkpoints; did you mean checkpoint?"),
        ("machine: ", "machine: ] ", "not valid YAML at line"),
        (
            "views: ",
            f"views: {'1' * 4301} # ",
            "params.yaml is not valid YAML at line 58, column 10: this value",
        ),
        ("views: ", f"views: {'1' * 4300} # ", "train.views is a number of more than 100 digits; it must be"),
        (
            "views: ",
            f"views: 0x{'f' * 9000} # ",
            "train.views is a number of more than 100 digits; it must be",
        ),
        ("source: phantom  ", "source: 2024-31-12 #", "not valid YAML at line 7, column 11: this value cannot"),
        ("source: phantom  ", "source: 2024-12-31 #", "data.source: 2024-12-31 is no text for YAML; put it in quotes"),
        (
            "source: phantom  ",
            "source: !!bool what #",
            "not valid YAML at line 7, column 11: this value cannot",
        ),
        (
            "source: phantom  ",
            'source: "a\\0b" #',
            r"data.source is 'a\x00b'; it must be text without a null",
        ),
        ("source: phantom  ", f"source: {'{a: ' * 1000}{'}' * 1000} #", "not valid YAML: it is nested too deeply"),
        (
            "objective: multi_positive ",
            f"objective: {'x' * 10**5} ",
            f"train.objective is '{'x' * 47}...{'x' * 48}'",
        ),
        ("checkpoint:", "<<<<<<< HEAD\n=======\ncheckpoint:", "not valid YAML at line 17: it has the marks of a merge"),
        ("machine: ", "1: 2\nmachine: ", "1: 1 is no text for YAML; put it in quotes"),
    ],
)
def test_a_wrong_value_ends_in_one_line_that_names_key_value_and_what_is_allowed(tmp_path, old, new, said):
    with pytest.raises(ParamsError) as error:
        load(changed(tmp_path, old, new))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tune": "projection", "layer_decay": 0.7}, "layer_decay has no meaning for tune projection; set it to 1"),
        ({"tune": "lora", "layer_decay": 0.7}, "layer_decay has no meaning for tune lora; set it to 1"),
        ({"objective": "sigmoid", "label_smoothing": 0.1}, "label_smoothing has no meaning for sigmoid"),
    ],
)
def test_values_that_do_not_go_together_are_refused_in_one_line(tmp_path, changes, said):
    content = YAML(typ="safe").load(COMMITTED)
    content["train"] |= changes
    YAML(typ="safe").dump(content, tmp_path / "params.yaml")
    with pytest.raises(ParamsError) as error:
        load(tmp_path / "params.yaml")
    assert f"train: {said}" in str(error.value)
    assert "\n" not in str(error.value)


OWN = {"benign": ["a benign tumour"], "malignant": ["a malignant tumour"]}
DRAWN = {name: [f"a scan of {name}"] for name in ("glioma", "meningioma", "notumor", "pituitary")}
ELSEWHERE = {"name": "elsewhere", "source": "phantom", "classes": None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data.source": "phantom"}, "data.source is phantom, which draws glioma, meningioma, notumor, pituitary; set"),
        (
            {"data.source": "phantom", "classes": DRAWN, "external": [ELSEWHERE | {"classes": {"normal": "glioma"}}]},
            "external: elsewhere: `classes` names normal, not among its folders (glioma, ",
        ),
        ({"classes": OWN | {"other": OWN["benign"]}}, "classes: benign and other have the same caption, 'a benign tum"),
        ({"classes": OWN | {1: ["another tumour"]}}, "classes.1: 1 is no text for YAML; put it in quotes"),
        ({"classes": OWN | {True: ["another tumour"]}}, "classes.1: True is no text for YAML; put it in quotes"),
        ({"classes.benign": [1.5]}, "classes.benign.0: 1.5 is no text for YAML; put it in quotes"),
        ({"evaluate.negative_class": 1}, "evaluate.negative_class: 1 is no text for YAML; put it in quotes"),
        ({"external": [ELSEWHERE | {"classes": {0: "benign"}}]}, "external.0.classes.0: 0 is no text for YAML; put "),
        ({"train.wholly_different": 1}, "unknown key train.wholly_different; the keys there are objective, captions, "),
        ({"train.epochs": 0, "seed": -1}, "seed is -1; it must be greater than or equal to 0 (and 1 more)"),
    ],
)
def test_what_params_alone_show_to_be_wrong_is_said_before_any_work(tmp_path, changes, said):
    yaml = YAML(typ="safe")
    content = yaml.load(COMMITTED)
    own = {"data.source": "scans", "classes": dict(OWN), "evaluate.negative_class": None, "external": []}
    for key, value in (own | changes).items():
        *sections, name = key.split(".")
        section = content
        for part in sections:
            section = section[part]
        section[name] = value
    yaml.dump(content, tmp_path / "params.yaml")
    with pytest.raises(ParamsError) as error:
        load(tmp_path / "params.yaml")
    assert str(error.value).removeprefix(f"{tmp_path}/params.yaml: ").startswith(said)
    assert str(error.value).endswith("(and 1 more)") == ("1 more" in said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:10", "cuda:999"])
def test_every_device_that_may_be_is_allowed(tmp_path, device):
    assert load(changed(tmp_path, "device: auto ", f"device: {device} ")).train.device == device


def test_parameters_are_checked_without_pytorch():
    program = "import sys, trueslice.params; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_a_missing_and_an_empty_file_are_named(tmp_path):
    with pytest.raises(ParamsError, match=r"params.yaml is missing"):
        load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("")
    with pytest.raises(ParamsError, match="holds no parameters"):
        load(tmp_path / "params.yaml")


def test_a_value_that_grows_by_its_aliases_is_not_written_out(tmp_path):
    lists = "".join(f"- &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in pairwise("abcdefghijkl"))
    with pytest.raises(ParamsError, match=r"evaluate.by.0 is \[") as error:
        load(changed(tmp_path, "  by:\n  - mode\n", textwrap.indent(f"by:\n- &a [x]\n{lists}", "  ")))
    assert len(str(error.value)) < 500
