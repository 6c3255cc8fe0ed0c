"""Where a prediction comes from."""

from pathlib import Path

import pytest
import torch

from tests.families import FAMILIES as BUILD
from trueslice.checkpoints import drawn as builtin
from trueslice.explain.attribution import explain, occlusion, patch_gradients
from trueslice.model.encoder import Encoder

BUILDERS = BUILD | {"tiny": lambda folder: builtin.build(folder, 0)}
BUILDERS |= {"tiny_conv": lambda folder: builtin.build_convolutional(folder, 0)}


@pytest.fixture(params=BUILDERS)
def encoder(request, tmp_path: Path) -> Encoder:
    BUILDERS[request.param](tmp_path / "model")
    return Encoder.load(tmp_path / "model", "cpu")


def scans(encoder: Encoder, count: int, channels: int = 1) -> torch.Tensor:
    shape = (count, channels, encoder.image_size, encoder.image_size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def classes(encoder: Encoder) -> torch.Tensor:
    return encoder.encode_classes([["a tumour"], ["a healthy brain"], ["another tumour"]])


def test_every_family_gives_maps_of_the_size_of_the_scan_from_0_to_1(encoder: Encoder):
    with torch.inference_mode():  # as callers are
        embeddings = classes(encoder)
        maps = explain(encoder, scans(encoder, 3), embeddings, torch.tensor([0, 1, 2]))
    assert maps.shape == (3, encoder.image_size, encoder.image_size) and maps.dtype == torch.float32
    assert maps.min() >= 0 and not maps.requires_grad
    torch.testing.assert_close(maps.amax(dim=(1, 2)), torch.ones(3))
    assert maps.std(dim=(1, 2)).min() > 0.01, "it says the same of all places"


def test_a_map_depends_on_the_class_and_not_on_the_batch(encoder: Encoder):
    pixels, embeddings = scans(encoder, 2, channels=3), classes(encoder)
    first, second = (explain(encoder, pixels, embeddings, torch.full((2,), target)) for target in (0, 1))
    assert (first - second).abs().max() > 1e-3
    alone = explain(encoder, pixels[1:], embeddings, torch.tensor([0]))
    torch.testing.assert_close(alone[0], first[1], atol=1e-4, rtol=0)


def test_nothing_of_the_model_is_changed(encoder: Encoder):
    before, pixels, embeddings = encoder.hash(), scans(encoder, 2), classes(encoder)
    kept = pixels.clone()
    explain(encoder, pixels, embeddings, torch.tensor([0, 1]))
    assert encoder.hash() == before and (pixels == kept).all() and not encoder.model.training
    assert all(weight.grad is None for weight in encoder.model.parameters())


def test_the_length_at_a_patch_is_that_of_finite_differences(tmp_path: Path):
    builtin.build(tmp_path / "model", 0)
    encoder = Encoder.load(tmp_path / "model", "cpu")
    pixels, embeddings, place, step = scans(encoder, 1), classes(encoder), 27, 0.02

    def log_probability(channel: int, change: float) -> float:
        def shift(_, __, output):
            output = output.clone()
            output[0, 1 + place, channel] += change  # the class token stands before the patches
            return output

        hook = encoder.model.vision_model.pre_layrnorm.register_forward_hook(shift)
        try:
            return encoder.logits([pixels], embeddings)[0].double().log_softmax(dim=0)[2].item()
        finally:
            hook.remove()

    width = encoder.model.config.vision_config.hidden_size
    slopes = [(log_probability(at, step) - log_probability(at, -step)) / (2 * step) for at in range(width)]
    found = patch_gradients(encoder, pixels.float(), embeddings, torch.tensor([2]))[0].flatten()[place]
    assert found.item() == pytest.approx(torch.tensor(slopes).norm().item(), rel=0.02)


def test_the_fall_at_a_cell_is_that_of_covering_it_by_hand(tmp_path: Path):
    builtin.build_convolutional(tmp_path / "model", 0)
    encoder = Encoder.load(tmp_path / "model", "cpu")
    pixels, embeddings = scans(encoder, 2).float(), classes(encoder)
    falls = occlusion(encoder, pixels, embeddings, torch.tensor([1, 2]))
    assert falls.shape == (2, 8, 8) and (falls > 0).any(dim=(1, 2)).all()
    for cell in range(64):
        top, left = 12 * (cell // 8), 12 * (cell % 8)
        covered = pixels[1, 0].numpy().copy()
        covered[top : top + 12, left : left + 12] = covered.mean()
        logits = encoder.logits([pixels[1:], torch.from_numpy(covered)[None, None]], embeddings).double()
        before, after = logits.log_softmax(dim=1)[:, 2].tolist()
        assert falls[1].flatten()[cell].item() == pytest.approx(max(before - after, 0), abs=1e-4)
