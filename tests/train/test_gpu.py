"""What a device computes is what the CPU computes in float64, up to rounding; and a GPU is not waited for.

More tests take the fixture `device`, in the files about their subject. All of them:
python -m pytest -m gpu tests/train tests/model/test_pixels.py
"""

import warnings

import pytest
import torch

from tests.families import FAMILIES
from tests.train.training import CAPTIONS, CONFIG, TRAIN, assert_same, scans, trainer, tuned
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import Pixels
from trueslice.params import Train
from trueslice.train.augmentation import Augmentation
from trueslice.train.loop import Trainer
from trueslice.train.resume import States, generator
from trueslice.train.weights import copy_into

CPU = torch.device("cpu")
MANY_CAPTIONS = [["bright", "a bright scan", "so bright"], ["dark", "a dark scan", "so dark", "very dark"]]


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """|found - expected| / |expected|; NaN where any number is."""
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    return (torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected)).item()


@pytest.fixture
def pair(family, device):
    """Gives an encoder of a family on the device, and the same one in float64 on the CPU."""

    def load(name: str) -> tuple[Encoder, Encoder]:
        exact = family(name)
        exact.model.double()
        exact._mean = exact._mean.double()
        exact._deviation = exact._deviation.double()
        return family(name, device), exact

    return load


@pytest.mark.parametrize("name", FAMILIES)
@torch.inference_mode()
def test_embeddings_are_those_of_float64(pair, name):
    encoder, exact = pair(name)
    pixels = Pixels(scans()[0], range(8), encoder.image_size, CPU).take(torch.arange(8))
    images = encoder.encode_images(pixels.to(encoder.device))
    assert images.device.type == encoder.device.type and images.dtype == torch.float32
    assert distance(images, exact.encode_images(pixels)) < 1e-4
    assert distance(encoder.encode_classes(CAPTIONS), exact.encode_classes(CAPTIONS)) < 1e-4


def test_scans_are_resized_and_moved_as_on_the_cpu(device):
    pixels, places = scans()[0], torch.arange(80)
    found, expected = (Pixels(pixels, range(80), 48, where).take(places) for where in (device, CPU))
    torch.testing.assert_close(found.cpu().int(), expected.int(), atol=1, rtol=0)
    augmentation = Augmentation.of(Train(**CONFIG | {"horizontal_flip": 0.5}))
    maps = augmentation.draw(80, torch.Generator().manual_seed(0))
    found, expected = (augmentation.apply(expected.to(where), maps) for where in (device, CPU))
    torch.testing.assert_close(found.cpu(), expected, atol=2, rtol=0)


def gradients(training: Trainer, pixels: torch.Tensor) -> tuple[float, torch.Tensor]:
    """The loss of the first 16 scans, which `pixels` holds, and its gradients, one after another."""
    rows = TRAIN[:16]
    loss = training.loss(rows, pixels.to(training.device), training._draw_captions(rows, generator(0, "captions", 0)))
    loss.backward()
    learning = [value for value in training.model.parameters() if value.grad is not None]
    return loss.item(), torch.cat([value.grad.flatten().double().cpu() for value in learning])


@pytest.mark.parametrize(
    ("name", "precision", "changes"),
    [
        ("clip", "bf16", {}),
        ("clip", "fp32", {"objective": "multi_positive"}),
        ("clip", "fp32", {"tune": "vision"}),
        ("clip", "bf16", {"tune": "lora"}),
        ("tiny_conv", "fp32", {"objective": "multi_positive"}),
        ("siglip", "fp32", {"objective": "sigmoid"}),
        ("dual", "fp32", {"objective": "in_batch"}),
    ],
)
def test_a_step_starts_from_the_gradients_of_float64(pair, name, precision, changes):
    encoder, exact = pair(name)
    rounding = {"fp32": 1e-3, "bf16": 0.2}[precision]
    reference = trainer(exact, precision="fp32", **changes)
    training = trainer(encoder, precision=precision, **changes)
    copy_into(training.weights, reference.weights)  # what LoRA adds is drawn anew
    pixels = Pixels(scans()[0], range(16), encoder.image_size, CPU).take(TRAIN[:16])
    (loss, found), (expected_loss, expected) = (gradients(each, pixels) for each in (training, reference))
    assert loss == pytest.approx(expected_loss, rel=rounding)
    assert distance(found, expected) < rounding


@pytest.mark.parametrize("tune", ["full", "vision"])
def test_an_epoch_has_the_losses_and_validation_logits_of_float64(pair, tune):
    changes = {"tune": tune, "epochs": 1, "learning_rate": 1e-4, "precision": "fp32", "objective": "multi_positive"}
    ends = []
    for encoder in pair("clip"):
        training = trainer(encoder, **changes)
        history = training.fit()
        ends.append((history, training.validate()[2]))
    (history, logits), (expected, expected_logits) = ends
    losses = [step["loss"] for step in expected.steps]
    assert [step["loss"] for step in history.steps] == pytest.approx(losses, rel=1e-3)
    assert distance(logits, expected_logits) < 1e-3


class Interrupted(States):
    """Is stopped once it has saved `number` states."""

    def save(self, state: dict) -> None:
        super().save(state)
        self.number -= 1
        if not self.number:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("dual", {"ema": 0.9}),
        ("clip", {"tune": "lora"}),
        ("clip", {"tune": "projection"}),
        ("clip", {"tune": "blocks"}),
    ],
)
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(family, device, tmp_path, name, changes):
    changes |= {"cache": tmp_path / "features"}
    whole = tuned(family(name, device), **changes)
    states = Interrupted(tmp_path / "training/run", 0)
    states.number = 6  # in the midst of the second epoch of four steps
    with pytest.raises(KeyboardInterrupt):
        trainer(family(name, device), **changes).fit(states)
    states._lock.release()
    training = trainer(family(name, device), **changes)
    again = training.fit(States(states.folder, 3600))
    assert training.images_trained == 60 * 3 - 60 - 32
    assert_same(again, whole, device)


# On a CPU compiling takes minutes, and PyTorch's compiled code crashed there once.
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here")
@pytest.mark.parametrize("tune", ["full", "lora"])
def test_a_compiled_training_does_the_same_and_is_compiled_once_for_each_size_of_batch(tiny_folder, monkeypatch, tune):
    from torch._dynamo.utils import counters

    monkeypatch.setattr("tests.train.training.CAPTIONS", MANY_CAPTIONS)
    torch._dynamo.reset()
    counters.clear()
    same = {"tune": tune, "objective": "multi_positive", "precision": "fp32", "learning_rate": 1e-4}
    compiled, plain = (
        tuned(Encoder.load(tiny_folder, "cuda"), compile=is_compiled, **same) for is_compiled in (True, False)
    )
    losses = [step["loss"] for step in plain.steps]
    assert [step["loss"] for step in compiled.steps] == pytest.approx(losses, rel=1e-3)
    assert counters["stats"]["unique_graphs"] == 2 and not counters["graph_break"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here")
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("tune", ["full", "vision", "lora", "projection", "blocks"])
def test_no_step_of_ours_waits_for_the_gpu(tiny_folder, tmp_path, tune, resident):
    changes = {"tune": tune, "objective": "multi_positive", "balance": "weights", "max_gradient_norm": 1.0, "ema": 0.9}
    training = trainer(Encoder.load(tiny_folder, "cuda"), resident=resident, cache=tmp_path, **changes)
    batches = training._batches(1)
    inputs = training.inputs.stream(training._plan(batches))
    training.step(batches[0], inputs)  # the first one makes AdamW's state
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for rows in batches[1:]:
                training.step(rows, inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    # transformers looks at the mask of the captions, which are few.
    waits = {f"{each.filename}:{each.lineno}" for each in told if "synchroniz" in str(each.message)}
    assert not {place for place in waits if "transformers" not in place}
