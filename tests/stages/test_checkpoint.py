"""The checkpoint stage through `dvc repro`, with the real huggingface_hub client against a loopback server."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoImageProcessor, CLIPModel

from tests.servers.hub import Hub
from tests.stages.running import assert_one_error
from trueslice.checkpoints import drawn as builtin
from trueslice.model.encoder import Encoder

NAME = "somebody/small-clip"


@pytest.fixture(scope="module")
def safetensors(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("safetensors")
    builtin.build(folder, seed=7)
    return folder


@pytest.fixture(scope="module")
def with_older_checkpoint(make_project):
    """A project that has run before, with the tiny checkpoint."""
    project = make_project()
    project.run("dvc repro checkpoint && git add -A && git commit -q -m older", check=True)
    return project


@pytest.fixture
def project(with_older_checkpoint, make_project):
    project = make_project(like=with_older_checkpoint)
    project.set("checkpoint.name", NAME)
    return project


@pytest.fixture
def hub(safetensors):
    with Hub(NAME, safetensors).running() as server:
        yield server


def repro(project, hub, **env):
    return project.run("dvc repro checkpoint", env=hub.env() | env)


def described(project) -> dict:
    return json.loads((project.root / "models/pretrained/checkpoint.json").read_text())


def assert_it_arrived(project, done, hub):
    assert done.returncode == 0, done.stdout
    assert described(project) == {"name": NAME, "revision": hub.commit}
    names = {path.name for path in (project.root / "models/pretrained").iterdir()}
    assert "model.safetensors" in names and not [name for name in names if name.endswith(".bin")]


def assert_it_failed(project, done, *words):
    """One line of ours with all `words`, no traceback, nothing half done, and the older checkpoint can be had."""
    assert_one_error(done, *words)
    assert not list((project.root / "models").glob("*pretrained*")), "a half-written checkpoint is left"
    project.run("dvc checkout models/pretrained", check=True)
    assert described(project) == {"name": "tiny", "revision": None}


def test_a_checkpoint_arrives(project, hub, safetensors):
    assert_it_arrived(project, repro(project, hub), hub)
    sent = CLIPModel.from_pretrained(safetensors).state_dict()
    arrived = CLIPModel.from_pretrained(project.root / "models/pretrained").state_dict()
    assert sent.keys() == arrived.keys() and all(torch.equal(sent[name], arrived[name]) for name in sent)


@pytest.mark.slow
def test_an_unknown_name_or_revision(project, hub):
    project.set("checkpoint.revision", "no-such-branch")
    assert_it_failed(project, repro(project, hub), f"{NAME} has no revision no-such-branch", "checkpoint.revision")
    project.set("checkpoint.revision", None)
    project.set("checkpoint.name", "somebody/nothing")
    assert_it_failed(project, repro(project, hub), "no Hugging Face repository somebody/nothing", "checkpoint.name")
    project.set("checkpoint.name", "./no such folder")
    assert_it_failed(project, repro(project, hub), "neither tiny, tiny_conv, lite, a folder, nor a Hugging Face id")


@pytest.mark.slow
def test_a_folder_is_taken_as_it_is_from_the_root_of_the_repository(project, safetensors):
    shutil.copytree(safetensors, project.root / "mine")
    project.run("echo mine >> .git/info/exclude", check=True)
    done = project.run("dvc exp run --temp -n mine -S checkpoint.name=mine checkpoint")
    assert done.returncode == 0, done.stdout
    assert "checkpoint: mine, " in done.stdout
    (project.root / "mine").rename(project.root / "broken")
    (project.root / "broken/model.safetensors").unlink()
    project.set("checkpoint.name", "broken")
    assert_it_failed(project, project.run("dvc repro checkpoint"), "broken", "has no model.safetensors")


def test_another_image_size_for_a_convolutional_tower_alone(project):
    project.set("checkpoint.name", "tiny_conv")
    project.set("checkpoint.image_size", 64)
    done = project.run("dvc repro checkpoint")
    assert "scans of 64 pixels" in done.stdout, done.stdout
    folder = project.root / "models/pretrained"
    encoder = Encoder.load(folder, torch.device("cpu"))
    assert encoder.image_size == 64
    assert encoder.encode_images(torch.rand(2, 1, 64, 64)).shape == (2, 64)
    assert AutoImageProcessor.from_pretrained(folder).crop_size == {"height": 64, "width": 64}
    project.run("dvc checkout models/pretrained", check=True)
    project.set("checkpoint.name", "tiny")
    done = project.run("dvc repro checkpoint")
    assert_one_error(done, "checkpoint.image_size is 64", "takes 64 only", "set it to null")
