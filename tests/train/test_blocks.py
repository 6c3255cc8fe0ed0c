"""Training of the last blocks of an image tower, from what the blocks below give, computed once."""

import re

import numpy as np
import pytest
import torch

from tests.families import FAMILIES
from tests.train.training import TRAIN, VALIDATION, trainer, tuned
from trueslice.errors import UserError
from trueslice.train import inputs
from trueslice.train.blocks import SplitTower
from trueslice.train.trainable import training_mode

COUNTS = {"tiny": 4, "tiny_conv": 4, "clip": 2, "siglip": 2, "dual": 2, "lite": 7}
ROWS = TRAIN[:16]
# What learns of each image tower with one block.
LAST = {
    "tiny": r"encoder\.layers\.3\.|post_layernorm\.",
    "tiny_conv": r"encoder\.stages\.3\.|layernorm\.",
    "clip": r"encoder\.layers\.1\.|post_layernorm\.",
    "siglip": r"encoder\.layers\.1\.|post_layernorm\.|head\.",
    "dual": r"layers\.1\.|layernorm\.|pooler\.",
    "lite": r"timm_model\.(blocks\.6\.|conv_head\.|bn2\.)",
}


def blocks(encoder, cache, count: int, **changes):
    return trainer(encoder, cache=cache, tune="blocks", blocks=count, **changes)


@pytest.mark.parametrize("name", FAMILIES)
def test_split_before_any_block_a_tower_gives_the_features_of_the_whole(family, device, name):
    encoder = family(name, device)
    pixels = torch.randint(0, 256, (3, 1, encoder.image_size, encoder.image_size), device=device)
    with torch.inference_mode():
        expected = encoder.image_features(pixels)
        for count in range(1, COUNTS[name] + 1):
            tower = SplitTower(encoder, count)
            features = tower.features(tower.states(pixels))
            torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_first_cached_view_is_embedded_as_the_scan_is_and_the_others_differ(family, device, tmp_path, name):
    training = blocks(family(name, device), tmp_path, 2, precision="fp32")
    batch = training.data.pixels.take(VALIDATION)
    with torch.inference_mode():
        expected = family(name, device).encode_images(batch)
        torch.testing.assert_close(training.inputs.embed(VALIDATION), expected, atol=1e-5, rtol=0)
    first, second = (np.load(next(tmp_path.glob(f"*/view-{view}.npy"))) for view in (0, 1))
    assert len(first) == 80 and first.dtype == np.float32 and not np.allclose(first, second, atol=1e-2)


def gradients(training, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """The gradients of a first step on the scans ROWS."""
    training_mode(training.model)
    training.loss(ROWS, inputs, training._draw_captions(ROWS, torch.Generator().manual_seed(0))).backward()
    return {name: parameter.grad for name, parameter in training.model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("name", FAMILIES)
def test_with_all_blocks_and_no_augmentation_a_step_has_the_gradients_of_vision(family, device, tmp_path, name):
    training = blocks(family(name, device), tmp_path, COUNTS[name], views=1, precision="fp32")
    found = gradients(training, next(training.inputs.stream(training._plan((ROWS,)))))
    other = trainer(family(name, device), tune="vision", precision="fp32")
    expected = gradients(other, other.data.pixels.take(ROWS))
    below = {each for each in expected if re.search(r"embeddings\.|pre_layrnorm\.|conv_stem\.|timm_model\.bn1\.", each)}
    assert found.keys() == expected.keys() - below and None not in found.values()
    for each, gradient in found.items():
        scale = expected[each].abs().max().item()
        torch.testing.assert_close(gradient, expected[each], atol=1e-3 * scale + 1e-7, rtol=1e-3, msg=each)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_below_the_last_blocks_keeps_its_weights_and_statistics(family, device, tmp_path, name):
    encoder = family(name, device)
    before = {each: value.clone() for each, value in encoder.model.state_dict().items()}
    tuned(encoder, cache=tmp_path, tune="blocks", blocks=1, epochs=2, ema=0.9, wise_ft=True, layer_decay=0.5)
    moved = {each for each, value in encoder.model.state_dict().items() if not torch.equal(value, before[each])}
    tops = {each.removeprefix("vision_model.") for each in moved if each.startswith("vision_model.")}
    assert tops and all(re.match(LAST[name], each) for each in tops)
    assert all(re.match(r"vision_model\.|visual_projection\.|logit_scale", each) for each in moved)


def test_another_seed_takes_the_states_that_are_there_and_another_number_of_blocks_its_own(family, tmp_path):
    blocks(family("clip"), tmp_path, 1)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*")}
    assert {path.name for path in written} == {"view-0.npy", "view-1.npy"}
    blocks(family("clip"), tmp_path, 1, seed=1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*")} == written
    blocks(family("clip"), tmp_path, 2)
    assert len(list(tmp_path.glob("*/*"))) == 4


def test_states_read_from_the_disk_train_the_same_weights(family, device, tmp_path, monkeypatch):
    results = []
    for fits in (True, False):
        monkeypatch.setattr(inputs, "fits", lambda *_, fits=fits: fits)
        encoder = family("tiny_conv", device)
        training = blocks(encoder, tmp_path, 2, epochs=1, precision="fp32")
        assert (training.inputs._resident is not None) == fits
        training.fit()
        results.append(encoder.model.state_dict())
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=0, atol=0 if device.type == "cpu" else 1e-3)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(family, tmp_path):
    same = {"cache": tmp_path, "tune": "blocks", "blocks": 1, "epochs": 1, "accumulation": 2}
    one, two, other = (tuned(family("dual"), seed=seed, **same) for seed in (0, 0, 1))
    assert one == two != other


def test_more_blocks_than_there_are_end_in_one_line_before_anything_is_computed(family, tmp_path):
    said = r"train.blocks is 3, but the image tower of this checkpoint has 2 blocks; lower it$"
    with pytest.raises(UserError, match=said):
        blocks(family("clip"), tmp_path, 3)
    assert not list(tmp_path.iterdir())


def test_a_tower_whose_blocks_are_not_known_is_refused_in_one_line(encoder):
    encoder.model.vision_model = torch.nn.Linear(1, 1)
    with pytest.raises(UserError, match=r"of the kind Linear, and blocks are known of .*; take vision, lora or full$"):
        SplitTower(encoder, 1)


def test_states_that_the_disk_has_no_room_for_are_refused_with_their_size(family, small_disk):
    room = 80 * 32 * 24 * 24 * 4  # bytes of a view
    with pytest.raises(
        UserError, match=rf"keeps {8 * room / 1e6:.0f} MB in .*, and 4\d MB are free there; .*\(now 8\)"
    ):
        blocks(family("tiny_conv"), small_disk / "features", 3, views=8)
    assert not list(small_disk.glob("features/*/*"))
