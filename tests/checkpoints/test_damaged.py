"""Damaged checkpoints: each is refused in one line of ours before training, and nothing else is on stderr."""

import json
import logging
import shutil
from collections.abc import Iterator
from logging.handlers import BufferingHandler
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from trueslice.checkpoints.normal import normalise
from trueslice.errors import UserError
from trueslice.model.encoder import check_captions

CLASSES = {"glioma": ["a scan of a glioma"], "notumor": ["a healthy brain"]}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
WEIGHTS, CONFIG, IMAGES = "model.safetensors", "config.json", "processor_config.json"
INDEX, SHARD = "model.safetensors.index.json", "model-00001-of-00001.safetensors"
DEEP = b"[" * 100_000


def content(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def value(name, place, new):
    """Sets a value of a JSON file, given by its dotted place."""

    def change(folder):
        whole = inside = json.loads((folder / name).read_text())
        *outer, last = place.split(".")
        for key in outer:
            inside = inside[key]
        inside[last] = new
        (folder / name).write_text(json.dumps(whole))

    return change


def weights(change):
    """Passes the weights by name through a function."""

    def changed(folder):
        save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, {"format": "pt"})

    return changed


def weight(name, change):
    return weights(lambda all_weights: all_weights | {name: change(all_weights[name]).contiguous()})


def stored(change):
    return weights(lambda all_weights: {name: change(tensor) for name, tensor in all_weights.items()})


def one(number):
    def change(tensor):
        tensor = tensor.clone()
        tensor.view(-1)[7] = number
        return tensor

    return change


def bytes_of(change):
    return lambda folder: (folder / WEIGHTS).write_bytes(change((folder / WEIGHTS).read_bytes()))


def pickled(folder, weights=None):
    torch.save(load_file(folder / WEIGHTS) if weights is None else weights, folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def shards(name):
    def change(folder):
        names = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).rename(folder / SHARD)
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, name)}))

    return change


NAN, INF = float("nan"), float("inf")
PATCHES = "vision_model.embeddings.patch_embedding.weight"
PROJECTION = "visual_projection.weight"
CUT = "weights in FOLDER are damaged or cut off"
DAMAGED = "config.json, tokenizer or image processor in FOLDER is damaged"
NO_MODEL = "cannot be loaded: its config.json and weights make no model of type clip"
USELESS = "cannot embed a scan or a caption"
OUTSIDE = f"{INDEX} names files that are not beside it"
SIDE = "config.json: vision_config.image_size is"
CASES = {
    "pointer": (content(WEIGHTS, LFS), "model.safetensors is a Git LFS pointer, not the file itself; run `git lfs"),
    "NaN": (weight(PROJECTION, one(NAN)), f"weights in FOLDER are not finite, such as {PROJECTION}"),
    "scale of [1]": (weight("logit_scale", lambda scale: scale.view(1)), "has the shape [1], not [] as config.json"),
    "scale of 100": (weight("logit_scale", lambda scale: scale * 0 + 100), "logit_scale in FOLDER is 100; it is the"),
    "image list": (value(CONFIG, "vision_config.image_size", [64, 64]), f"{SIDE} [64, 64]; it must be a whole"),
    "module.": (
        weights(lambda all_weights: {f"module.{name}": tensor for name, tensor in all_weights.items()}),
        "lacks 94 of its weights, such as logit_scale",
    ),
    "cut off": (bytes_of(lambda old: old[:-100]), CUT),
    "outside": (shards("../../../etc/passwd"), OUTSIDE),
    "deep": (content(CONFIG, DEEP), "config.json is no JSON object, so it is damaged"),
    "no numbers": (weight(PATCHES, lambda tensor: tensor * 1e38), "embeds a scan or a caption as what is no number"),
    "no end": (value(CONFIG, "text_config.eos_token_id", 9999999), "FOLDER tells no captions apart"),
    "zeros": (weights(lambda all_weights: {k: v * 0 for k, v in all_weights.items()}), "FOLDER tells no captions"),
    "blind": (weight(PATCHES, lambda tensor: tensor * 0), "FOLDER tells no scans apart"),
    "int8": (
        stored(lambda tensor: (tensor * 100).to(torch.int8)),
        "weights in FOLDER are stored as I8, such as 'logit",
    ),
    "complex": (stored(lambda tensor: tensor.to(torch.complex64)), "weights in FOLDER are stored as C64, such as"),
    "eps": (value(CONFIG, "vision_config.layer_norm_eps", 1e30), "vision_config.layer_norm_eps is 1e+30; it must be"),
    "dropout": (value(CONFIG, "text_config.attention_dropout", 5), "text_config.attention_dropout is 5; it must be a"),
    "factor": (value(IMAGES, "image_processor.rescale_factor", "x"), "rescale_factor is 'x'; it must be a number"),
    "no padding": (value("tokenizer_config.json", "pad_token", None), USELESS),
    "other tokens": (content("added_tokens.json", b'{"glioma": 9999}'), "has tokens beyond the 514 of config.json"),
}
MORE = {
    "pointers": (content("tokenizer.json", LFS), "tokenizer.json is a Git LFS pointer"),
    "int8 pickled": (
        lambda folder: pickled(folder, {k: (v * 100).to(torch.int8) for k, v in load_file(folder / WEIGHTS).items()}),
        "weights in FOLDER are stored as torch.int8, such as",
    ),
    "float8": (stored(lambda tensor: tensor.to(torch.float8_e4m3fn)), "weights in FOLDER are stored as F8_E4M3"),
    "eps NaN": (value(CONFIG, "vision_config.layer_norm_eps", NAN), "vision_config.layer_norm_eps is nan; it must be"),
    "infinite": (weight(PROJECTION, one(-INF)), "are not finite"),
    "scale NaN": (weight("logit_scale", lambda scale: scale * NAN), "are not finite, such as logit_scale"),
    "scale of 14": (weight("logit_scale", lambda scale: scale * 0 + 14.3), "logit_scale in FOLDER is 14.3"),
    "overflow": (weights(lambda all_weights: {k: v * 1e30 for k, v in all_weights.items()}), "logit_scale in"),
    "image text": (value(CONFIG, "vision_config.image_size", "64"), f"{SIDE} '64'"),
    "image truth": (value(CONFIG, "vision_config.image_size", True), f"{SIDE} True"),
    "image huge": (value(CONFIG, "vision_config.image_size", 10**9), f"{SIDE} 1000000000"),
    "image other": (value(CONFIG, "vision_config.image_size", 72), "has the shape [65, 128], not [82, 128]"),
    "layers": (value(CONFIG, "vision_config.num_hidden_layers", 10**7), "num_hidden_layers is 10000000"),
    "layer": (value(CONFIG, "vision_config.num_hidden_layers", 5), "lacks 16 of its weights"),
    "heads": (value(CONFIG, "vision_config.num_attention_heads", 3), DAMAGED),
    "patches": (value(CONFIG, "vision_config.patch_size", 0), NO_MODEL),
    "activation": (value(CONFIG, "vision_config.hidden_act", "none"), NO_MODEL),
    "width": (value(CONFIG, "vision_config.hidden_size", "128"), DAMAGED),
    "tower": (value(CONFIG, "text_config", "text"), "text_config.image_size is 'text'"),
    "type": (value(CONFIG, "model_type", ["clip"]), "a model of type ['clip']; supported are: clip"),
    "quantised": (value(CONFIG, "quantization_config", {"quant_method": "gptq", "bits": 4}), NO_MODEL),
    "text": (content(CONFIG, b"\xff\xfe"), "config.json is no JSON object"),
    "list": (content(CONFIG, b"[]"), "config.json is no JSON object"),
    "digits": (content(CONFIG, b'{"a": ' + b"9" * 5000 + b"}"), "config.json is no JSON object"),
    "escaped": (content(CONFIG, b'{"auto\\u005fmap": {"AutoModel": "x.Y"}}'), "asks to run code that comes with"),
    "mean": (value(IMAGES, "image_processor.image_mean", [NAN] * 3), "image_mean is [nan, nan, nan]; it must be"),
    "deviation": (value(IMAGES, "image_processor.image_std", [0, 1, 1]), "image_std is [0, 1, 1]; it must be three"),
    "images": (content(IMAGES, DEEP), f"{IMAGES} is no JSON object"),
    "size": (value(IMAGES, "image_processor.size", "64"), DAMAGED),
    "nothing": (weights(lambda _: {}), "lacks 94 of its weights"),
    "turned": (weight(PROJECTION, lambda tensor: tensor.T), "has the shape [128, 64], not [64, 128]"),
    "header": (bytes_of(lambda old: (2**40).to_bytes(8, "little") + old[8:]), CUT),
    "shape": (bytes_of(lambda old: old.replace(b"[128,3,8,8]", b"[128,3,8,9]")), CUT),
    "longer": (bytes_of(lambda old: old + b"x"), CUT),
    "empty": (content(WEIGHTS, b""), CUT),
    "absolute": (shards("/etc/passwd"), OUTSIDE),
    "numbers": (shards(5), OUTSIDE),
    "pickle": (lambda folder: pickled(folder, [1]), NO_MODEL),
    "pickles": (lambda folder: pickled(folder, {"state_dict": {}}), "lacks 94 of its weights"),
    "tokenizer": (content("tokenizer.json", b"{}"), DAMAGED),
    "vocabulary": (value("tokenizer.json", "model.vocab", {"a": 0}), USELESS),
    "tokens": (content("tokenizer_config.json", b"[]"), "tokenizer_config.json is no JSON object"),
    "adapter": (content("adapter_config.json", b'{"base_model_name_or_path": "a/b", "peft_type": "LORA"}'), NO_MODEL),
}


def checkpoint(tiny: Path, tmp_path: Path, change) -> Path:
    folder = shutil.copytree(tiny, tmp_path / "given")
    (tmp_path / "kept").mkdir()
    change(folder)
    return folder


@pytest.fixture
def heard(capfd) -> Iterator[BufferingHandler]:
    """What transformers logs; its own handler writes to the stderr that it found when it was imported."""
    handler = BufferingHandler(capacity=10**6)
    logging.getLogger("transformers").addHandler(handler)
    yield handler
    logging.getLogger("transformers").removeHandler(handler)
    assert capfd.readouterr() == ("", "")


def assert_refused(folder: Path, said: str, heard: BufferingHandler) -> None:
    with pytest.raises(UserError) as error:
        normalise(folder, folder.parent / "kept")
        check_captions(folder.parent / "kept", CLASSES)
    assert said.replace("FOLDER", str(folder)) in str(error.value) and "\n" not in str(error.value)
    assert not heard.buffer


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_in_one_line(tiny_folder, tmp_path, heard, case):
    assert_refused(checkpoint(tiny_folder, tmp_path, CASES[case][0]), CASES[case][1], heard)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", MORE)
def test_so_are_many_more(tiny_folder, tmp_path, heard, case):
    assert_refused(checkpoint(tiny_folder, tmp_path, MORE[case][0]), MORE[case][1], heard)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_become_float32(tiny_folder, tmp_path, dtype):
    change = weights(lambda all_weights: {name: tensor.to(dtype) for name, tensor in all_weights.items()})
    folder = checkpoint(tiny_folder, tmp_path, change)
    normalise(folder, tmp_path / "kept")
    kept, given = load_file(tmp_path / "kept" / WEIGHTS), load_file(folder / WEIGHTS)
    assert all(torch.equal(kept[name], given[name].float()) for name in given)


def test_weights_in_shards_or_pickled_are_the_same(tiny_folder, tmp_path):
    for name, change in {"shards": shards(SHARD), "pickled": pickled}.items():
        (tmp_path / name).mkdir()
        normalise(checkpoint(tiny_folder, tmp_path / name, change), tmp_path / name / "kept")
        assert (tmp_path / name / "kept" / WEIGHTS).read_bytes() == (tiny_folder / WEIGHTS).read_bytes()


def test_weights_that_are_left_out_are_told(tiny_folder, tmp_path, capfd):
    def more(all_weights):
        return all_weights | {"extra\x1b[2J": torch.ones(2)}

    normalise(checkpoint(tiny_folder, tmp_path, weights(more)), tmp_path / "kept")
    left_out = f"1 left out of those in {tmp_path}/given, such as 'extra\\x1b[2J'"
    assert capfd.readouterr() == ("", f"note: weights that a model of type clip has not: {left_out}\n")
