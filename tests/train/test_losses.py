"""Each loss against the slowest and most obvious way to compute it, and its gradients against finite differences."""

import math

import pytest
import torch
from torch.nn import functional

from trueslice.choices import LOSSES
from trueslice.train import losses
from trueslice.train.losses import Batch

CLASSES = 3


def batch(scans: int = 7, width: int = 5, seed: int = 0, smoothing: float = 0.0, labels=None, **changes) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def unit(count):
        return functional.normalize(torch.randn(count, width, generator=generator, dtype=torch.float64), dim=1)

    parts = {
        "images": unit(scans),
        "captions": unit(scans),
        "classes": unit(CLASSES),
        "labels": torch.randint(CLASSES, (scans,), generator=generator) if labels is None else torch.tensor(labels),
        "weights": torch.rand(scans, generator=generator, dtype=torch.float64) + 0.5,
        "logit_scale": torch.tensor(4.0, dtype=torch.float64),
        "logit_bias": torch.tensor(-2.0, dtype=torch.float64),
        "label_smoothing": smoothing,
    }
    return Batch(**(parts | changes))


def cross_entropy(similarities: list[float], positives: list[int], scale: float, smoothing: float) -> float:
    """Of one anchor against all candidates, of which `positives` share the target."""
    total = sum(math.exp(scale * similarity) for similarity in similarities)
    loss = 0.0
    for place, similarity in enumerate(similarities):
        target = (1 - smoothing) * (place in positives) / len(positives) + smoothing / len(similarities)
        loss -= target * math.log(math.exp(scale * similarity) / total)
    return loss


def slow(name: str, b: Batch) -> float:
    labels, scans, scale = b.labels.tolist(), range(len(b.labels)), b.logit_scale.item()

    def dot(u, v):
        return sum(x * y for x, y in zip(u.tolist(), v.tolist(), strict=True))

    values = []
    for i in scans:
        same = [j for j in scans if labels[j] == labels[i]]
        if name == "caption":
            loss = cross_entropy([dot(b.images[i], t) for t in b.classes], [labels[i]], scale, b.label_smoothing)
        elif name == "sigmoid":
            logits = [scale * dot(b.images[i], b.captions[j]) + b.logit_bias.item() for j in scans]
            loss = sum(math.log(1 + math.exp(-z if j in same else z)) for j, z in zip(scans, logits, strict=True))
        else:
            positives = same if name == "multi_positive" else [i]
            forth = cross_entropy([dot(b.images[i], u) for u in b.captions], positives, scale, b.label_smoothing)
            back = cross_entropy([dot(b.captions[i], v) for v in b.images], positives, scale, b.label_smoothing)
            loss = (forth + back) / 2
        values.append(b.weights[i].item() * loss)
    return sum(values) / len(values)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("labels", [None, [0] * 7, [0, 1, 2, 0, 1, 2, 0]])
def test_a_loss_is_what_its_formula_says(name, smoothing, labels):
    if smoothing and not LOSSES[name].label_smoothing:
        pytest.skip("not defined, and refused by params.py")
    for seed in range(5):
        given = batch(seed=seed, smoothing=smoothing, labels=labels)
        assert getattr(losses, name)(given).item() == pytest.approx(slow(name, given), rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(name):
    fixed = batch()

    def loss(images, captions, classes, logit_scale, logit_bias):
        changes = {"images": images, "captions": captions, "classes": classes}
        return getattr(losses, name)(batch(**changes, logit_scale=logit_scale, logit_bias=logit_bias))

    inputs = [fixed.images, fixed.captions, fixed.classes, fixed.logit_scale, fixed.logit_bias]
    # The targets of the softmax losses are float32, so differences are exact to some 1e-7 only.
    assert torch.autograd.gradcheck(loss, [value.clone().requires_grad_() for value in inputs], eps=1e-5, atol=1e-5)


def test_with_one_caption_per_class_multi_positive_is_in_batch():
    given = batch(labels=[0, 0, 1, 2, 2, 2, 1])
    shared = batch(labels=[0, 0, 1, 2, 2, 2, 1], captions=given.classes[given.labels], weights=torch.ones(7))
    assert losses.multi_positive(shared).item() == pytest.approx(losses.in_batch(shared).item())
    assert losses.multi_positive(given).item() != pytest.approx(losses.in_batch(given).item())


def test_in_batch_cannot_fall_below_the_log_of_same_class_scans():
    """With perfect embeddings of two classes, four scans each: the floor that held the original project back."""
    ends = torch.eye(2, dtype=torch.float64)
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    perfect = {"images": ends[labels], "captions": ends[labels], "classes": ends, "weights": torch.ones(8)}
    given = batch(scans=8, labels=labels, **perfect, logit_scale=torch.tensor(100.0))
    assert losses.in_batch(given).item() == pytest.approx(math.log(4))
    assert losses.caption(given).item() == pytest.approx(0, abs=1e-6)
