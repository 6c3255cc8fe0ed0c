"""A released folder: damage, mixtures and additions are refused in one line that names the file."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.released import release, release_again, scans
from trueslice import Classifier
from trueslice.errors import UserError
from trueslice.inference.folder import SETTINGS, read_settings
from trueslice.records.released import ReleasedModel

ROOT = Path(__file__).parents[2]
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_folder) -> Path:
    """A released model. Not to be written to."""
    folder = tmp_path_factory.mktemp("whole")
    release(tiny_folder, folder)
    return folder


@pytest.fixture
def model(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        read_settings(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def in_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


DAMAGE = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: os.truncate(path, path.stat().st_size // 2),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "one bit": flipped,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a pointer": lambda path: path.write_bytes(LFS),
    "a folder": in_a_folder,
    "a link to nowhere": dangling,
}
FILES = ("config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "tokenizer_config.json")


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", [*FILES, "reference.csv", "reference.npz", SETTINGS])
def test_a_damaged_file_is_named(model, name, damage):
    DAMAGE[damage](model / name)
    if (name, damage) == (SETTINGS, "longer"):
        read_settings(model)  # white space says nothing
    else:
        assert name in refused(model)


def test_a_pointer_of_git_lfs_is_called_one(model):
    (model / "model.safetensors").write_bytes(LFS)
    assert "model.safetensors is a Git LFS pointer: run `git lfs pull`; make the model again" in refused(model)


ARRAYS = {
    "rows": lambda a: a | {"embeddings": a["embeddings"][:10]},
    "width": lambda a: a | {"embeddings": a["embeddings"][:, :5]},
    "side": lambda a: a | {"thumbnails": a["thumbnails"][:, :32, :32]},
    "key": lambda a: {"thumbnails": a["thumbnails"]},
    "objects": lambda a: a | {"thumbnails": a["thumbnails"].astype(object)},
    "NaN": lambda a: a | {"embeddings": a["embeddings"] * np.float32("nan")},
    "NaN pixels": lambda a: a | {"thumbnails": a["thumbnails"] * np.nan},
}


def assert_not_loaded(model: Path, said: str) -> None:
    release_again(model)
    with pytest.raises(UserError) as error:
        Classifier.load(model, "cpu")
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ARRAYS)
def test_damaged_arrays_of_a_model_released_again_are_refused(model, damage):
    with np.load(model / "reference.npz") as arrays:
        changed = ARRAYS[damage](dict(arrays))
    np.savez(model / "reference.npz", **changed)
    assert_not_loaded(model, "reference.npz is damaged: ")


def test_so_are_an_archive_that_is_none_and_a_table_without_training_scans(model):
    table = (model / "reference.csv").read_text()
    (model / "reference.csv").write_text(table.replace(",train,", ",val,"))
    assert_not_loaded(model, "reference.csv has no scan of the split train; ")
    (model / "reference.csv").write_text(table)
    (model / "reference.npz").write_bytes(b"PK\3\4xxx")
    assert_not_loaded(model, "reference.npz is damaged: it cannot be read")


ADDED = ("pytorch_model.bin", "added_tokens.json", "vocab.json", "adapter_config.json", "preprocessor_config.json")


@pytest.mark.parametrize("name", [*ADDED, "model.safetensors.index.json", "notes.txt"])
def test_a_file_that_was_added_is_named(model, name):
    (model / name).write_text("{}")
    assert f"{name} does not belong to this model" in refused(model)


def test_the_card_the_licence_and_hidden_files_may_change(model):
    before = read_settings(model)
    (model / "README.md").write_text("mine")
    (model / "LICENSE").write_text("mine")
    (model / ".gitattributes").write_text("")
    (model / ".cache").mkdir()
    assert read_settings(model) == before


@pytest.mark.parametrize("name", [*FILES[:2], "reference.csv", "reference.npz", SETTINGS])
def test_files_of_two_models_are_not_mixed(model, tmp_path, name):
    from trueslice.checkpoints import drawn

    drawn.build_convolutional(tmp_path / "conv", seed=1)
    release(tmp_path / "conv", tmp_path / "other", count=21)
    shutil.copy(tmp_path / "other" / name, model / name)
    assert f"{model}/" in refused(model)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("temperature", 0, "temperature is 0; it must be greater than or equal to 0.05"),
        ("temperature", float("nan"), "the value of temperature is not of its type"),
        ("temperature", "1", "the value of temperature is not of its type"),
        ("temperature", 0.8, "trueslice.json is not as it was released"),
        ("classes", {"glioma": ["a glioma"]}, "the value of classes is not of its type"),
        ("classes", {"../x": ["a"], "b": ["c"]}, "classes: '../x' cannot be the name of a class folder"),
        ("classes", {"a": ["c"], "b": ["c"]}, "classes: a and b have the same caption, 'c'"),
        ("copy_threshold", 0, "copy_threshold is 0; it must be greater than 0"),
        ("decode", {"image_size": 80, "colour": 0, "max_pixels": 9}, "the value of decode.colour is not of its type"),
        ("confidence", [], "the value of confidence is not of its type"),
        ("format", 2, "it is not of a released model, or of another version"),
        ("files", {}, "does not belong to this model"),
        ("tempreature", 1, "it has an unknown key tempreature"),
    ],
)
def test_a_changed_value_is_named(model, key, value, said):
    content = json.loads((model / SETTINGS).read_text())
    (model / SETTINGS).write_text(json.dumps(content | {key: value}))
    assert said in refused(model)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def places(content, place=()):
    """Every place in a JSON value, by the keys and numbers that lead to it."""
    yield place
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield from places(value, (*place, key))


def mutated(content: dict, draw) -> bytes:
    """A text of trueslice.json with one value, one key or some bytes changed."""
    how = draw(st.sampled_from(["value", "key", "remove", "bytes", "cut"]))
    text = json.dumps(content).encode()
    if how in ("bytes", "cut"):
        start = draw(st.integers(0, len(text) - 1))
        end = len(text) if how == "cut" else start + draw(st.integers(0, 8))
        return text[:start] + draw(st.binary(max_size=8)) + text[end:]
    content = json.loads(text)
    *outer, last = draw(st.sampled_from([place for place in places(content) if place]))
    inside = content
    for key in outer:
        inside = inside[key]
    if how == "value":
        inside[last] = draw(JSON)
    elif how == "remove":
        del inside[last]
    elif isinstance(inside, dict):
        inside[draw(st.text())] = draw(JSON)
    return json.dumps(content).encode("utf-8", "surrogatepass")


def check_mutations(model: Path, count: int) -> None:
    released = ReleasedModel.read(model / SETTINGS)
    content = json.loads(released.text())

    @settings(max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=[*HealthCheck])
    @given(st.data())
    def check(data) -> None:
        (model / SETTINGS).write_bytes(mutated(content, data.draw))
        try:
            found = read_settings(model)
        except UserError as error:
            assert len(str(error).splitlines()) == 1 and len(str(error)) < 1000
        else:
            assert found == released

    check()


def test_changed_settings_are_refused_in_one_line_or_mean_the_same(model):
    check_mutations(model, 100)


@pytest.mark.slow
def test_thousands_of_changed_settings_are_refused_in_one_line_or_mean_the_same(model):
    check_mutations(model, 3000)


def test_files_that_change_after_loading_change_no_answer(model):
    classifier = Classifier.load(model, "cpu")
    scan = scans(1, seed=5)[0]
    before = classifier.predict([scan])[0].to_dict()
    for path in model.iterdir():
        with path.open("r+b") as file:  # as `cp` does
            file.write(bytes(path.stat().st_size))
    assert classifier.predict([scan])[0].to_dict() == before


@pytest.mark.slow
def test_files_that_are_cut_off_under_a_running_process_change_no_answer(model):
    program = """
import sys
import numpy as np
from trueslice import Classifier

stream = Classifier.load(sys.argv[1], "cpu").stream(np.full((40, 40), int(line), np.uint8) for line in sys.stdin)
print("loaded", flush=True)
print(*(each.probabilities for each in stream), sep="\\n")
"""
    command, said = [sys.executable, "-c", program, str(model)], []
    for cut in (False, True):
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "loaded\n"
        for path in model.iterdir() if cut else ():
            os.truncate(path, 0)
        said.append(process.communicate("50\n90\n")[0])
        assert process.returncode == 0
    assert said[0] == said[1] and said[0].count("glioma") == 2


def test_an_answer_that_is_no_number_is_refused_and_named(model, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    name = "vision_model.embeddings.patch_embedding.weight"
    save_file(weights | {name: weights[name] * 1e38}, model / "model.safetensors", {"format": "pt"})
    release_again(model)
    (found,) = Classifier.load(model, "cpu").stream([scans(1)[0]])
    assert (found.name, found.reason) == ("array", "the model's answer is not a number; its weights are too large")
