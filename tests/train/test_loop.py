import itertools

import numpy as np
import pytest
import torch

from tests.families import FAMILIES
from tests.train.training import CAPTIONS, CONFIG, TRAIN, assert_same, assert_same_steps, scans, trainer, tuned
from trueslice.choices import TUNING
from trueslice.errors import UserError
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import Pixels
from trueslice.params import Train
from trueslice.train import loop
from trueslice.train.captions import Captions
from trueslice.train.inputs import TrainingData
from trueslice.train.loop import Trainer, learning_rate_factor
from trueslice.train.weights import interpolate


def weights(encoder) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in encoder.model.named_parameters()}


def changed(before: dict, after: dict) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("objective", "captions"),
    [("caption", "random"), ("caption", "mean"), ("multi_positive", "random"), ("in_batch", "random")],
)
def test_every_objective_learns(family, device, objective, captions):
    history = tuned(family("clip", device), objective=objective, captions=captions, epochs=6)
    assert history.epochs[history.best_epoch - 1].val_accuracy > 0.9
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss


def test_bf16_learns_and_leaves_fp32_weights(family, device):
    encoder = family("clip", device)
    history = tuned(encoder, precision="bf16")
    assert history.epochs[history.best_epoch - 1].val_accuracy > 0.9
    assert {value.dtype for value in encoder.model.state_dict().values() if value.is_floating_point()} == {
        torch.float32
    }


def test_sigmoid_learns_with_its_bias(family, device):
    encoder = family("siglip", device)
    before = weights(encoder)
    history = tuned(encoder, objective="sigmoid", epochs=6)
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss / 2
    assert "logit_bias" in changed(before, weights(encoder))


@pytest.mark.parametrize(
    ("name", "tune"),
    [
        *((name, "full") for name in FAMILIES if name != "tiny"),
        *(("clip", tune) for tune in TUNING if tune != "full"),
        *(("dual", "lora"), ("tiny_conv", "vision")),
        *(("lite", "lora"), ("siglip", "projection")),  # which are refused
    ],
)
def test_every_family_is_tuned_in_every_way_and_saved_as_a_plain_checkpoint(family, device, tmp_path, name, tune):
    encoder = family(name, device)
    others = {"dual": ["query", "value"], "tiny_conv": ["pwconv1"]}
    targets = ["q_proj", "v_proj", *others.get(name, [])]
    changes = {"lora": CONFIG["lora"] | {"targets": targets}}
    if name == "lite" and tune == "lora":
        with pytest.raises(UserError, match="no linear layers; take full, vision, blocks or projection"):
            tuned(encoder, tune=tune)
        return
    if name == "siglip" and tune == "projection":
        with pytest.raises(UserError, match="this checkpoint has no projections; take blocks, vision, lora or full"):
            tuned(encoder, tune=tune)
        return
    before, kind = weights(encoder), type(encoder.model)
    history = tuned(encoder, cache=tmp_path, tune=tune, epochs=4 if name == "siglip" else 2, **changes)
    assert history.epochs[-1].val_loss < history.epochs[0].train_loss
    assert weights(encoder).keys() == before.keys()
    moved = changed(before, weights(encoder))
    towers = {part for part in ("vision_model", "text_model") if any(name.startswith(part) for name in moved)}
    images = {"vision": {"vision_model"}, "blocks": {"vision_model"}, "projection": set()}
    assert towers == images.get(tune, {"vision_model", "text_model"})
    if tune == "lora":
        assert all(name.split(".")[-2] in targets and name.endswith("weight") for name in moved)
    encoder.save(tmp_path / "saved")
    again = Encoder.load(tmp_path / "saved", device)
    assert type(again.model) is kind
    assert not changed(weights(encoder), weights(again))
    pixels = scans()[0]
    batch = Pixels(pixels, range(4), encoder.image_size, encoder.device).take(torch.arange(4))
    with torch.inference_mode():
        torch.testing.assert_close(encoder.encode_images(batch), again.encode_images(batch), atol=1e-6, rtol=0)


def test_the_history_is_whole_and_the_best_epoch_is_kept(encoder):
    history = tuned(encoder, epochs=4, label_smoothing=0.1)
    assert [epoch.epoch for epoch in history.epochs] == [1, 2, 3, 4]
    assert [step["step"] for step in history.steps] == list(range(1, 17))
    best = max(history.epochs, key=lambda epoch: (epoch.val_accuracy, -epoch.val_loss))
    assert history.best_epoch == best.epoch
    # The weights that are left are those of the best epoch, not of the last.
    assert validation_loss(encoder) == pytest.approx(best.val_loss, abs=1e-6)


def validation_loss(encoder) -> float:
    pixels, labels = scans()
    with torch.inference_mode():
        logits = encoder.logits(
            [torch.from_numpy(pixels[60:])[:, None].to(encoder.device)], encoder.encode_classes(CAPTIONS)
        )
    return torch.nn.functional.cross_entropy(logits, labels[60:]).item()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("dual", {"objective": "multi_positive", "ema": 0.9}),  # its text tower has dropout
        ("dual", {"tune": "lora"}),
        ("tiny_conv", {}),
    ],
)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(family, name, changes):
    results = []
    for seed in (0, 0, 1):
        encoder = family(name)
        results.append((tuned(encoder, seed=seed, epochs=1, **changes), weights(encoder)))
    assert results[0][0] == results[1][0] and not changed(results[0][1], results[1][1])
    assert results[0][0] != results[2][0]


def test_streamed_scans_train_the_same_weights(family, device):
    one, other = (family("clip", device) for _ in range(2))
    assert_same(tuned(one, resident=True), tuned(other, resident=False), device)
    assert device.type == "cuda" or not changed(weights(one), weights(other))


def test_no_other_scan_is_looked_at(family):
    pixels, labels = scans()
    histories = []
    for change in (False, True):
        if change:
            pixels[60:] = 0
            labels[60:] = 1 - labels[60:]
        encoder = family("clip")
        rows = torch.arange(40)
        drawn = Pixels(pixels, np.arange(80), 64, encoder.device)
        data = TrainingData(drawn, labels, rows, rows + 20, Captions(CAPTIONS))
        histories.append(Trainer(encoder, data, Train(**CONFIG | {"epochs": 1}), seed=0).fit())
    assert histories[0] == histories[1]


def test_parts_of_a_batch_add_up_to_the_batch(family, device):
    """The caption loss is a mean over scans, so dividing the batch may change nothing but rounding."""
    whole, parts = (family("clip", device) for _ in range(2))
    same = {"captions": "mean", "rotation": 0.0, "translation": 0.0, "scale": 0.0, "epochs": 1, "precision": "fp32"}
    one = tuned(whole, **same)
    other = tuned(parts, accumulation=3, **same)
    assert [s["loss"] for s in one.steps] == pytest.approx([s["loss"] for s in other.steps], rel=1e-4)


def test_weights_and_sampler_balance_the_classes(encoder):
    labels = torch.tensor([0] * 54 + [1] * 6 + [0, 1] * 10)
    pixels = scans()[0]
    sampled = torch.cat(trainer(encoder, pixels, labels, balance="sampler")._batches(1))
    assert len(sampled) == 60 and 0.3 < labels[sampled].float().mean() < 0.7
    weights = trainer(encoder, pixels, labels).data.weights
    assert weights[TRAIN].mean() == pytest.approx(1) and weights[:54].sum() == pytest.approx(weights[54:60].sum())
    histories = [tuned(encoder, pixels, labels, balance=balance, epochs=1) for balance in ("none", "weights")]
    assert histories[0].steps[0] != histories[1].steps[0]


def test_patience_ends_early(encoder):
    history = tuned(encoder, epochs=50, patience=2)
    assert len(history.epochs) == history.best_epoch + 2


def test_the_logit_scale_stays_below_its_limit_unless_it_started_above(encoder, family):
    tuned(encoder, max_logit_scale=30.0, learning_rate=1e-2, epochs=1)
    assert encoder.logit_scale.item() <= 30.001
    above = family("siglip")
    tuned(above, max_logit_scale=100.0, epochs=1)
    assert 100 < above.logit_scale.item() <= 110


def test_gradients_are_shortened(encoder):
    before = weights(encoder)
    # So short that Adam's epsilon outweighs them: without clipping a step has the learning rate's length.
    tuned(encoder, max_gradient_norm=1e-12, weight_decay=0.0, epochs=1)
    after = weights(encoder)
    assert max((after[name] - before[name]).abs().max().item() for name in before) < 1e-4


def test_ema_validates_and_keeps_the_average(family, device):
    plain, averaged = (family("clip", device) for _ in range(2))
    one, other = tuned(plain, epochs=2), tuned(averaged, epochs=2, ema=0.99)
    assert_same_steps(one, other, device)  # the average does not steer
    assert one.epochs[-1].val_loss != other.epochs[-1].val_loss
    best = other.epochs[other.best_epoch - 1]
    assert validation_loss(averaged) == pytest.approx(best.val_loss, abs=1e-6)


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_wise_ft_leaves_a_point_between_before_and_after(family, tune):
    before = weights(family("clip"))
    plain, mixed = (family("clip") for _ in range(2))
    tuned(plain, tune=tune)
    history = tuned(mixed, tune=tune, wise_ft=True)
    alpha, after, between = history.wise_ft_alpha, weights(plain), weights(mixed)
    assert alpha in loop.ALPHAS
    for name in before:
        torch.testing.assert_close(between[name], before[name] + alpha * (after[name] - before[name]))
    # No other share validates better.
    losses = {}
    for share in loop.ALPHAS:
        interpolate(mixed.model.state_dict(), before, after, share)
        losses[share] = validation_loss(mixed)
    interpolate(mixed.model.state_dict(), before, after, alpha)
    assert validation_loss(mixed) <= min(losses.values()) + 1e-6 or alpha == 1


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("clip", {"batch_size": 64}, "train.batch_size is 64, but there are only 60 training scans; lower it"),
        ("clip", {"objective": "sigmoid"}, "this checkpoint has no logit bias; only SigLIP ones have"),
        (
            "dual",
            {"tune": "lora", "lora": CONFIG["lora"] | {"targets": ["query"]}},
            "train.lora.targets is query, but in this checkpoint the linear layers of the image tower",
        ),
        (
            "clip",
            {"tune": "lora", "lora": CONFIG["lora"] | {"rank": 10_000_000_000}},
            "train.lora.rank is 10000000000, but no layer of train.lora.targets has a rank above 32; lower it",
        ),
        ("tiny_conv", {"tune": "lora"}, "the image tower are called pwconv1, pwconv2, those of the text tower fc1"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(family, name, changes, said):
    with pytest.raises(UserError) as error:
        tuned(family(name), **changes)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("tune", ["full", "lora", "projection"])
def test_a_loss_that_is_no_number_stops_training_soon_and_names_the_step(family, device, tmp_path, tune):
    encoder = family("clip", device)
    with torch.no_grad():
        encoder.model.visual_projection.weight.fill_(float("nan"))
    training = trainer(encoder, tune=tune, cache=tmp_path, batch_size=4)
    with pytest.raises(UserError, match=r"loss is nan at step 1; lower train.learning_rate"):
        training.fit()
    assert training.step_number == (1 if device.type == "cpu" else loop.CHECK_EVERY)


@pytest.mark.slow
def test_a_model_that_cannot_be_compiled_is_not_reported_as_too_large(encoder, monkeypatch):
    import torch._inductor.config as inductor

    # Where no C++ compiler is installed. Nothing is taken from the cache of what was compiled before.
    monkeypatch.setattr(inductor.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(inductor, "force_disable_caches", True)
    with pytest.raises(UserError, match=r"train.compile is true, but PyTorch cannot compile the model here") as error:
        tuned(encoder, compile=True)
    assert "install a C++ compiler such as g++, or set train.compile to false" in str(error.value)
    assert "\n" not in str(error.value)


OUT_OF_MEMORY = r"out of memory .* train.batch_size \(now 16\), .*accumulation .* train.tune"


def test_too_little_memory_names_the_ways_out(family, device):
    encoder = family("clip", device)

    class Huge(torch.nn.Linear):
        def forward(self, **_):
            return torch.empty(2**60, device=device)

    encoder.model.vision_model = Huge(1, 1)
    with pytest.raises(UserError, match=OUT_OF_MEMORY):
        tuned(encoder)


@pytest.mark.parametrize(
    "said", ["CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"]
)
def test_too_little_memory_is_told_in_whatever_words_pytorch_reports_it(encoder, monkeypatch, said):
    def fail(*_):
        raise RuntimeError(said)

    monkeypatch.setattr(encoder, "image_features", fail)
    with pytest.raises(UserError, match=OUT_OF_MEMORY):
        tuned(encoder)


def test_the_learning_rate_rises_and_falls():
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(101)]
    assert factors[:10] == pytest.approx([step / 11 for step in range(1, 11)])
    assert factors[10] == 1 and factors[55] == pytest.approx(0.5) and factors[100] == pytest.approx(0)
    assert all(a > b for a, b in itertools.pairwise(factors[10:]))
    assert learning_rate_factor(1, 1, 0.9) >= 0
