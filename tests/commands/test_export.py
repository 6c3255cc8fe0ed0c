"""`trueslice export onnx`: the graph says what the model says, also where there is no PyTorch."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tests.families import FAMILIES
from tests.released import SIDE, release, scans
from trueslice.commands import cli
from trueslice.inference import onnx
from trueslice.inference.classifier import Classifier
from trueslice.records.onnx import OnnxModel, Parity
from trueslice.tables.known import KnownScans
from trueslice.tables.splits import Splits

ROOT = Path(__file__).parents[2]
# What refuses to be imported where the example runs.
ABSENT = ("torch", "torchvision", "transformers", "trueslice", "onnx")
BLOCK = f"""
import sys
class Blocked:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {ABSENT}:
            raise ImportError(f"{{name}} is not there")
sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, tiny_folder) -> Path:
    """A folder with `tiny` as models/released and what was exported of it, and with the scans of its run."""
    folder = tmp_path_factory.mktemp("workspace")
    release(tiny_folder, folder / "models/released")
    known = KnownScans.read(folder / "models/released/reference.csv")
    (folder / "data/scans").mkdir(parents=True)
    np.save(folder / "data/scans/pixels.npy", scans(len(known)))
    empty = np.full(len(known), "")
    Splits(known.path, known.class_name, empty, known.unit, empty, known.unit, known.split, empty, empty).write(
        folder / "data/splits.csv"
    )
    with contextlib.chdir(folder):
        cli.main(["export", "onnx"])
    return folder


def about(folder: Path) -> dict:
    return OnnxModel.read(folder / "models/onnx/model.json").model_dump()


def answers(folder: Path, pixel_values: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    return session.run(None, {"pixel_values": pixel_values})[0]


def test_the_graph_is_held_against_the_test_scans_and_told_how_close_it_comes(workspace):
    content = about(workspace)
    assert content["parity"]["of"] == "test scans" and content["parity"]["scans"] == 10
    assert content["parity"]["answers_changed"] == 0 and 0 < content["parity"]["largest_difference"] < 1e-4
    assert content["classes"] == ["glioma", "notumor", "pituitary"]
    assert (content["size"], content["square_size"]) == (64, SIDE)


def test_any_number_of_scans_goes_through_and_each_alone_says_the_same(workspace):
    values = np.random.default_rng(0).standard_normal((5, 3, 64, 64)).astype(np.float32)
    together = answers(workspace / "models/onnx", values)
    assert together.shape == (5, 3) and np.allclose(together.sum(axis=1), 1, atol=1e-6)
    alone = np.concatenate([answers(workspace / "models/onnx", values[row : row + 1]) for row in range(5)])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_the_graph_says_nothing_of_this_machine(workspace):
    content = (workspace / "models/onnx/model.onnx").read_bytes()
    for text in (str(ROOT), "site-packages", "stack_trace"):
        assert text.encode() not in content


def test_the_example_of_the_documents_gives_the_same_answers_without_pytorch(workspace, tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/handover.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    paths = []
    for number, (height, width) in enumerate([(80, 80), (64, 64), (200, 130), (90, 300), (31, 57), (512, 512)]):
        picture = Image.fromarray(scans(1, number)[0]).resize((width, height))
        path = tmp_path / f"{number}.{'jpg' if number % 2 else 'png'}"
        (picture.convert("RGB") if number == 2 else picture).save(path)
        paths.append(str(path))
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code, *paths]
    done = subprocess.run(command, cwd=workspace, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = Classifier.load(workspace / "models/released", "cpu").predict(paths)
    for line, prediction in zip(done.stdout.splitlines(), expected, strict=True):
        path, said, *probabilities = line.split(",")
        assert (path, said) == (prediction.name, prediction.y_pred)
        np.testing.assert_allclose(np.float64(probabilities), list(prediction.probabilities.values()), atol=1e-3)
    torch = subprocess.run([sys.executable, "-c", "import torch"], env=env, capture_output=True, text=True)
    assert "torch is not there" in torch.stderr


@pytest.mark.parametrize(("parity", "holds"), [((9, 1e-5, 0), True), ((9, 1e-5, 1), False), ((9, 0.01, 0), False)])
def test_one_answer_or_one_probability_too_far_off_is_too_much(parity, holds):
    scans, difference, changed = parity
    assert Parity(of="scans", scans=scans, largest_difference=difference, answers_changed=changed).holds is holds


def refused(*arguments: str) -> str:
    with contextlib.redirect_stderr(io.StringIO()) as said, pytest.raises(SystemExit) as end:
        cli.main(["export", "onnx", *arguments])
    assert end.value.code == 1 and said.getvalue().count("\n") == 1
    return said.getvalue()


def test_a_folder_with_other_files_is_not_overwritten(workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(workspace)
    (tmp_path / "thesis.tex").write_text("mine")
    assert "holds thesis.tex, which no earlier run has left there as it is now" in refused("--out", str(tmp_path))
    assert "thesis.tex: File exists; give the name of a folder" in refused("--out", str(tmp_path / "thesis.tex"))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_is_not_a_model_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "models/released does not exist" in refused()
    (tmp_path / "other").mkdir()
    assert "other has no trueslice.json, so it is not a released model" in refused("--model", "other")
    assert not (tmp_path / "models/onnx").exists()


def test_a_package_that_is_missing_is_named(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    said = "error: onnxscript is not installed; run: pip install -e '.[onnx]'\n"
    assert refused("--model", "nowhere") == said, "before anything else"


@pytest.mark.slow
def test_a_graph_that_says_something_else_is_not_written(workspace, tmp_path, monkeypatch):
    class Wrong(onnx.Graph):
        def forward(self, pixel_values):
            return super().forward(pixel_values).roll(1, dims=1)

    monkeypatch.chdir(workspace)
    monkeypatch.setattr(onnx, "Graph", Wrong)
    assert "the graph does not say what the model says: 10 of 10 answers differ" in refused(
        "--out", str(tmp_path / "x")
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_be_exported_also_without_its_scans(name, tmp_path, monkeypatch):
    FAMILIES[name](tmp_path / "checkpoint")
    release(tmp_path / "checkpoint", tmp_path / "models/released")
    monkeypatch.chdir(tmp_path)
    cli.main(["export", "onnx"])
    parity = about(tmp_path)["parity"]
    assert (parity["of"], parity["scans"], parity["answers_changed"]) == ("thumbnails of test scans", 10, 0)
    assert parity["largest_difference"] < 1e-4


@pytest.mark.slow
def test_weights_that_are_too_large_for_one_file_go_beside_it(workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(workspace)
    monkeypatch.setattr(onnx, "LARGEST_FILE", 1000)
    for _ in range(2):  # the second replaces the first
        cli.main(["export", "onnx", "--out", str(tmp_path / "large")])
    assert sorted(path.name for path in (tmp_path / "large").iterdir()) == [
        ".trueslice.sha256",
        "model.json",
        "model.onnx",
        "model.onnx.data",
    ]
    values = np.zeros((1, 3, 64, 64), np.float32)
    assert np.array_equal(answers(tmp_path / "large", values), answers(workspace / "models/onnx", values))
