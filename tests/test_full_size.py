"""A checkpoint as large as openai/clip-vit-base-patch32, in the layout in which that one stands on the hub."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from tests.servers.hub import Hub
from tests.servers.loopback import Answer
from trueslice.checkpoints import drawn as builtin
from trueslice.model.encoder import Encoder
from trueslice.tables.predictions import ModelPredictions

NAME = "openai/clip-vit-base-patch32"


@pytest.fixture
def hub(tmp_path, project):
    """Random weights in half precision and a byte vocabulary; files, names and keys otherwise as in that repository."""
    builtin.build(tmp_path / "tiny", seed=0)
    vocabulary = CLIPTokenizer.from_pretrained(tmp_path / "tiny").get_vocab()
    config = CLIPConfig()
    # As that repository has it: the end of a caption is found as the highest token id.
    config.text_config.eos_token_id = 2
    torch.manual_seed(0)
    folder = tmp_path / "repository"
    folder.mkdir()
    torch.save(CLIPModel(config).half().state_dict(), folder / "pytorch_model.bin")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    special |= {"unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    files = {
        "config.json": config.to_dict() | {"architectures": ["CLIPModel"], "model_type": "clip"},
        "preprocessor_config.json": {
            "crop_size": 224,
            "do_center_crop": True,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "resample": 3,
            "size": 224,
        },
        "special_tokens_map.json": special,
        "tokenizer_config.json": special | {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77},
        "vocab.json": vocabulary,
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, default=str))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "README.md").write_text("not needed")
    with Hub(NAME, folder).running() as server:
        yield server
    # pytest keeps the folders of its last runs, and this one's hold 4 GB.
    for large in (folder, project.root, Path(project.env["HOME"])):
        shutil.rmtree(large)


@pytest.mark.slow
def test_vit_b_32_without_safetensors_goes_from_the_hub_to_the_scores(project, hub, tmp_path):
    hub.faults["body"] = [Answer(cut_at=150 * 2**20)]
    project.set("checkpoint.name", NAME)
    project.set("data.phantom.train_per_class", 6)
    project.set("data.phantom.test_per_class", 2)
    project.set("train.epochs", 1)
    project.set("train.batch_size", 8)
    project.set("train.device", "cpu")
    done = project.run("dvc repro predict", env=hub.env())
    assert done.returncode == 0, done.stdout
    assert len([request for request in hub.requests if "range" in request.headers]) == 1

    root = project.root
    assert json.loads((root / "models/pretrained/checkpoint.json").read_text())["revision"] == hub.commit
    assert not list((root / "models").rglob("*.bin"))
    pretrained = Encoder.load(root / "models/pretrained", "cpu")
    assert pretrained.image_size == 224 and pretrained.model.dtype == torch.float32
    assert sum(weights.numel() for weights in pretrained.model.parameters()) == 151_277_313
    captions = ["a brain MRI scan", "ÄÖ 123!"]
    expected = CLIPTokenizer.from_pretrained(tmp_path / "tiny")(captions, padding=True)["input_ids"]
    assert pretrained.tokenize(captions)["input_ids"].tolist() == expected

    train = json.loads((root / "metrics/train.json").read_text())
    assert train["steps"] >= 2 and train["train_loss"] > 0
    assert len(ModelPredictions.read(root / "plots/predictions.csv")) == 8
