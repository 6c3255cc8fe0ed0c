"""`trueslice preset` on the presets of the project."""

import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from trueslice.commands import cli
from trueslice.params import flat, load

ROOT = Path(__file__).parents[2]
COMMITTED = (ROOT / "params.yaml").read_text()
PRESETS = {path.stem: flat(YAML(typ="safe").load(path)) for path in sorted((ROOT / "presets").iterdir())}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    (tmp_path / "params.yaml").write_text(COMMITTED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_preset_is_valid_and_is_what_it_says(folder, capsys):
    for name, values in PRESETS.items():
        (folder / "params.yaml").write_text(COMMITTED)
        cli.main(["preset", name])
        assert flat(load(folder / "params.yaml").model_dump()).items() >= values.items()
        told = re.findall(r"^([\w.]+) .*→", capsys.readouterr().out, re.MULTILINE)
        assert set(told) == {
            key for key, value in values.items() if flat(YAML(typ="safe").load(COMMITTED))[key] != value
        }


def test_presets_of_one_kind_set_the_same_keys_so_that_each_replaces_the_others():
    kinds = [["laptop", "clip", "clip_laptop"], ["patients", "as_published"]]
    for kind in kinds:
        for one, other in pairwise(kind):
            assert PRESETS[one].keys() - {"split.leaks"} == PRESETS[other].keys() - {"split.leaks"}
    assert {"kaggle", *kinds[0], *kinds[1]} == set(PRESETS)


LEARNING = {"tune", "blocks", "views", "epochs", "batch_size", "label_smoothing"}


def test_only_the_lines_of_changed_values_differ_and_the_form_is_that_of_dvc(folder):
    cli.main(["preset", "patients", "laptop"])
    before, after = COMMITTED.splitlines(), (folder / "params.yaml").read_text().splitlines()
    changed = {new.split(":")[0].strip() for old, new in zip(before, after, strict=True) if old != new}
    assert changed == {"protocol", "name", "image_size", "copies", *LEARNING}
    written = (folder / "params.yaml").read_text()
    apply_overrides(folder / "params.yaml", ["seed=0"])
    assert (folder / "params.yaml").read_text() == written


def test_a_second_time_nothing_changes(folder, capsys):
    cli.main(["preset", "kaggle", "clip"])
    before = (folder / "params.yaml").read_bytes()
    capsys.readouterr()
    cli.main(["preset", "kaggle", "clip"])
    assert capsys.readouterr().out == "params.yaml has all these values already\n"
    assert (folder / "params.yaml").read_bytes() == before


def test_without_a_name_all_are_listed_with_what_they_are(folder, capsys):
    cli.main(["preset"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PRESETS) and all(len(line.split()) > 4 for line in lines)


@pytest.mark.parametrize(
    ("preset", "status", "said"),
    [
        (None, 1, "error: there is no preset mine; choose from as_published, clip, "),
        (
            "train:\n  epcohs: 3\n",
            2,
            "error: params.yaml would be wrong: unknown key train.epcohs; did you mean epochs?",
        ),
        ("trian:\n  epochs: 3\n", 2, "error: unknown key trian.epochs: there is no section trian in params.yaml"),
        (
            "<<<<<<< HEAD\na: 1\n",
            1,
            "error: presets/mine.yaml is not valid YAML at line 2: it has the marks of a merge",
        ),
        ("- train\n", 1, "error: presets/mine.yaml holds no parameters; write some, or delete it"),
        ("train:\n  epochs: 0\n", 2, "error: params.yaml would be wrong: train.epochs is 0; it must be greater than"),
    ],
)
def test_a_wrong_name_or_preset_ends_in_one_line_and_changes_nothing(folder, capsys, preset, status, said):
    if preset:
        (folder / "presets/mine.yaml").write_text(f"# mine\n{preset}")
    with pytest.raises(SystemExit) as end:
        cli.main(["preset", "patients", "mine"])
    error = capsys.readouterr().err
    assert end.value.code == status and error.startswith(said) and error.count("\n") == 1
    assert (folder / "params.yaml").read_text() == COMMITTED


def test_outside_the_project_both_commands_say_where_to_start_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments in (["preset", "clip"], ["init", "."]):
        with pytest.raises(SystemExit):
            cli.main(arguments)
        assert re.search(
            "start the command in the project's folder|run from the repository's root", capsys.readouterr().err
        )
