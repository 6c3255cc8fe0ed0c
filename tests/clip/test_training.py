import dataclasses

import pytest
import torch

from tumorclip.clip.training import Settings, fine_tune, learning_rate_factor
from tumorclip.errors import UserError

SETTINGS = Settings(
    objective="caption",
    epochs=3,
    batch_size=16,
    learning_rate=1e-3,
    weight_decay=0.05,
    warmup_ratio=0.1,
    horizontal_flip=0.0,
    rotation=5.0,
    translation=0.05,
    scale=0.05,
    seed=0,
)
CAPTIONS = [["a bright scan", "bright"], ["a dark scan"]]


def scans(count: int = 80):
    """Noise, bright for class 0 and dark for class 1."""
    labels = torch.arange(count) % 2
    noise = torch.randint(0, 100, (count, 1, 64, 64), generator=torch.Generator().manual_seed(3))
    return (noise + 150 * (1 - labels).view(-1, 1, 1, 1)).to(torch.uint8), labels


def tuned(encoder, **changes):
    pixels, labels = scans()
    rows = torch.arange(len(labels))
    return fine_tune(encoder, pixels, labels, rows[:60], rows[60:], CAPTIONS, dataclasses.replace(SETTINGS, **changes))


@pytest.mark.parametrize("objective", ["caption", "in_batch"])
def test_it_learns(encoder, objective):
    history = tuned(encoder, objective=objective, epochs=6)
    assert history.epochs[history.best_epoch - 1]["val_accuracy"] > 0.9
    assert history.epochs[-1]["train_loss"] < history.epochs[0]["train_loss"]


def test_the_history_is_whole_and_the_best_epoch_is_kept(encoder):
    history = tuned(encoder, epochs=4)
    assert [epoch["epoch"] for epoch in history.epochs] == [1, 2, 3, 4]
    assert [step["step"] for step in history.steps] == list(range(1, 17))
    best = max(history.epochs, key=lambda epoch: (epoch["val_accuracy"], -epoch["val_loss"]))
    assert history.best_epoch == best["epoch"]
    pixels, labels = scans()
    with torch.inference_mode():
        logits = encoder.logits(pixels[60:], encoder.encode_classes(CAPTIONS))
    # The weights that are left are those of the best epoch, not of the last.
    assert torch.nn.functional.cross_entropy(logits, labels[60:]).item() == best["val_loss"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tiny_folder):
    from tumorclip.clip.encoder import Encoder

    results = []
    for seed in (0, 0, 1):
        encoder = Encoder.load(tiny_folder, "cpu")
        history = tuned(encoder, seed=seed)
        results.append((history, torch.cat([p.detach().flatten() for p in encoder.model.parameters()])))
    assert results[0][0] == results[1][0] and torch.equal(results[0][1], results[1][1])
    assert results[0][0] != results[2][0]


def test_no_test_scan_is_looked_at(tiny_folder):
    from tumorclip.clip.encoder import Encoder

    pixels, labels = scans()
    rows = torch.arange(40)
    histories = []
    for change in (False, True):
        if change:
            pixels[60:] = 0
            labels[60:] = 1 - labels[60:]
        histories.append(
            fine_tune(Encoder.load(tiny_folder, "cpu"), pixels, labels, rows, rows + 20, CAPTIONS, SETTINGS)
        )
    assert histories[0] == histories[1]


def test_both_towers_and_the_logit_scale_learn(encoder):
    before = {name: parameter.detach().clone() for name, parameter in encoder.model.named_parameters()}
    tuned(encoder, epochs=1)
    changed = {name for name, parameter in encoder.model.named_parameters() if not torch.equal(parameter, before[name])}
    assert {"logit_scale", "visual_projection.weight", "text_projection.weight"} <= changed


def test_a_batch_larger_than_the_training_set_is_refused(encoder):
    with pytest.raises(UserError, match="train.batch_size is 64, but there are only 60 training scans"):
        tuned(encoder, batch_size=64)


def test_a_loss_that_is_no_number_stops_training_and_names_the_step(encoder):
    with torch.no_grad():
        encoder.model.visual_projection.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="loss is nan at step 1; lower train.learning_rate"):
        tuned(encoder, epochs=1)


def test_the_learning_rate_rises_and_falls():
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(101)]
    assert factors[:10] == pytest.approx([step / 11 for step in range(1, 11)])
    assert factors[10] == 1 and factors[55] == pytest.approx(0.5) and factors[100] == pytest.approx(0)
    assert all(a > b for a, b in zip(factors[10:], factors[11:], strict=False))
    assert learning_rate_factor(1, 1, 0.9) >= 0
