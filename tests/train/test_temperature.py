import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from trueslice.train import temperature


def drawn(sharpness: float, seed: int = 0, scans: int = 2000):
    """Logits whose softmax at the temperature `sharpness` is the truth that labels are drawn from."""
    random = np.random.default_rng(seed)
    truth = 2 * random.normal(size=(scans, 4))
    shares = np.exp(log_softmax(truth, axis=1))
    return sharpness * truth, np.array([random.choice(4, p=share) for share in shares])


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_it_is_the_one_under_which_labels_are_most_likely(sharpness):
    logits, labels = drawn(sharpness)
    found = temperature.fit(logits, labels)
    assert found == pytest.approx(sharpness, rel=0.1)

    def loss(logarithm: float) -> float:
        return -log_softmax(logits / np.exp(logarithm), axis=1)[np.arange(len(labels)), labels].mean()

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert loss(np.log(found)) <= best.fun + 1e-12


def test_where_every_scan_is_right_nothing_changes():
    assert temperature.fit(np.array([[5.0, 1.0], [0.0, 0.1]]), np.array([0, 1])) == 1


def test_it_stays_within_bounds():
    logits = np.array([[3.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    assert temperature.fit(logits, np.array([1, 1, 0])) == temperature.HIGHEST
    nearly_right = np.repeat([[1e-3, 0.0]], 1000, axis=0)
    assert temperature.fit(nearly_right, np.r_[np.zeros(999, int), 1]) == temperature.LOWEST


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_extreme_logits_do_no_harm(scale):
    logits, labels = drawn(1.0, scans=50)
    assert temperature.LOWEST <= temperature.fit(scale * logits.astype(np.float32), labels) <= temperature.HIGHEST
