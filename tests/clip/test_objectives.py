import math

import pytest
import torch
from torch.nn import functional

from tumorclip.clip.objectives import OBJECTIVES, caption_loss, in_batch_loss

SCALE = torch.tensor(14.0, dtype=torch.float64)


def example(scans: int = 6, classes: int = 3, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    images = functional.normalize(torch.randn(scans, 8, generator=generator, dtype=torch.float64), dim=1)
    captions = functional.normalize(torch.randn(classes, 8, generator=generator, dtype=torch.float64), dim=1)
    return images, captions, torch.randint(0, classes, (scans,), generator=generator)


def slow_caption_loss(images, classes, labels, scale):
    total = 0.0
    for image, label in zip(images, labels, strict=True):
        scores = [math.exp(scale * float(image @ caption)) for caption in classes]
        total -= math.log(scores[label] / sum(scores))
    return total / len(images)


def slow_in_batch_loss(images, classes, labels, scale):
    captions = [classes[label] for label in labels]
    total = 0.0
    for i in range(len(images)):
        over_captions = [math.exp(scale * float(images[i] @ caption)) for caption in captions]
        over_images = [math.exp(scale * float(image @ captions[i])) for image in images]
        total -= math.log(over_captions[i] / sum(over_captions)) + math.log(over_images[i] / sum(over_images))
    return total / (2 * len(images))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("fast", "slow"), [(caption_loss, slow_caption_loss), (in_batch_loss, slow_in_batch_loss)])
def test_a_loss_agrees_with_its_formula_written_out(fast, slow, seed):
    images, classes, labels = example(seed=seed)
    assert fast(images, classes, labels, SCALE).item() == pytest.approx(slow(images, classes, labels, SCALE), abs=1e-9)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients(name):
    images, classes, labels = example(scans=4)
    inputs = (images.requires_grad_(), classes.requires_grad_(), SCALE.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda i, c, s: OBJECTIVES[name](i, c, labels, s), inputs)


def test_the_captions_term_of_the_in_batch_loss_has_the_floor_that_holds_the_baseline_back():
    # Eight scans of one class: even a perfect encoder cannot tell eight equal captions apart.
    images, classes, _ = example(scans=8, classes=1)
    labels = torch.zeros(8, dtype=torch.int64)
    perfect = classes[labels]
    assert in_batch_loss(perfect, classes, labels, SCALE).item() == pytest.approx(math.log(8))
    assert caption_loss(perfect, classes, labels, SCALE).item() == pytest.approx(0)
