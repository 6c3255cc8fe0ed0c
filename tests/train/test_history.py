import numpy as np
import pytest

from trueslice.records.train import Epoch
from trueslice.train.history import History


def epoch(number: int, accuracy: float, loss: float) -> Epoch:
    same = {"train_loss": 1.0, "train_accuracy": 0.5, "learning_rate": 0.1}
    return Epoch(epoch=number, val_loss=loss, val_accuracy=accuracy, **same)


def test_the_best_epoch_has_the_highest_accuracy_then_the_lowest_loss_then_comes_first():
    history = History()
    scores = [(0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.6, 0.1), (0.7, 0.8)]
    is_best = [history.add_epoch(epoch(number, *each)) for number, each in enumerate(scores, start=1)]
    assert is_best == [True, True, True, False, False]
    assert history.best_epoch == 3
    assert history.summary().val_loss == 0.8 and len(history.summary().epochs) == 5


def test_training_stalls_once_patience_is_over():
    history = History()
    assert not history.stalled(1)
    for number, accuracy in enumerate([0.5, 0.6, 0.6, 0.6], start=1):
        history.add_epoch(epoch(number, accuracy, 1.0))
    assert history.stalled(1) and history.stalled(2) and not history.stalled(3) and not history.stalled(None)


@pytest.mark.parametrize("count", [1, 39, 100])
def test_the_running_mean_is_over_the_steps_around_each(count):
    losses = np.random.default_rng(0).random(count)
    steps = [{"step": number, "loss": loss, "learning_rate": 0.1} for number, loss in enumerate(losses.tolist(), 1)]
    table = History(steps=steps).step_table()
    half = count // 40
    expected = [losses[max(0, place - half) : place + half + 1].mean() for place in range(count)]
    assert table.mean_loss == pytest.approx(expected)
    assert table.step.tolist() == list(range(1, count + 1)) and table.loss.tolist() == losses.tolist()
