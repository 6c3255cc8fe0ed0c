"""A short training on scans of noise, bright for one class and dark for the other."""

from pathlib import Path

import numpy as np
import pytest
import torch

from trueslice.model.pixels import Pixels
from trueslice.params import Train
from trueslice.train.captions import Captions
from trueslice.train.history import History
from trueslice.train.inputs import TrainingData
from trueslice.train.loop import Trainer

CONFIG = {
    "objective": "caption",
    "captions": "random",
    "tune": "full",
    "lora": {"rank": 4, "alpha": 8, "targets": ["q_proj", "k_proj", "v_proj"]},
    "views": 2,
    "blocks": 1,
    "epochs": 3,
    "patience": None,
    "batch_size": 16,
    "accumulation": 1,
    "learning_rate": 1e-3,
    "layer_decay": 1.0,
    "weight_decay": 0.05,
    "warmup_ratio": 0.1,
    "max_gradient_norm": None,
    "max_logit_scale": 100.0,
    "label_smoothing": 0.0,
    "balance": "none",
    "ema": None,
    "wise_ft": False,
    "horizontal_flip": 0.0,
    "rotation": 5.0,
    "translation": 0.05,
    "scale": 0.05,
    "precision": "auto",
    "compile": False,
    "device": "cpu",
}
CAPTIONS = [["a bright scan", "bright"], ["a dark scan"]]
TRAIN, VALIDATION = torch.arange(60), torch.arange(60, 80)
NO_CACHE = Path("not-needed")


def scans(count: int = 80):
    """Noise, bright for class 0 and dark for class 1."""
    labels = torch.arange(count) % 2
    noise = torch.randint(0, 100, (count, 64, 64), generator=torch.Generator().manual_seed(3))
    return (noise + 150 * (1 - labels).view(-1, 1, 1)).to(torch.uint8).numpy(), labels


def trainer(
    encoder, pixels=None, labels=None, resident=True, processes=None, cache=NO_CACHE, seed=0, **changes
) -> Trainer:
    drawn = scans()
    data = TrainingData(
        Pixels(
            drawn[0] if pixels is None else pixels, np.arange(80), encoder.image_size, encoder.device, resident=resident
        ),
        drawn[1] if labels is None else labels,
        TRAIN,
        VALIDATION,
        Captions(CAPTIONS),
    )
    return Trainer(encoder, data, Train(**(CONFIG | changes)), seed, processes, cache)


def tuned(encoder, *args, **changes):
    return trainer(encoder, *args, **changes).fit()


def assert_same(one: History, other: History, device: torch.device) -> None:
    """Two trainings did the same: to the last bit on the CPU, up to rounding on a GPU."""
    if device.type == "cpu":
        assert one == other
        return
    assert_same_steps(one, other, device)
    assert [epoch["val_loss"] for epoch in one.epochs] == pytest.approx(
        [epoch["val_loss"] for epoch in other.epochs], rel=1e-2, abs=1e-3
    )


def assert_same_steps(one: History, other: History, device: torch.device) -> None:
    first, second = ([step["loss"] for step in history.steps] for history in (one, other))
    assert first == (second if device.type == "cpu" else pytest.approx(second, rel=1e-2, abs=1e-3))
