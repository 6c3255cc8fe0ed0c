"""The choice of test scans to look at."""

import numpy as np
import pytest

from tests.made import table
from trueslice.explain.examples import choose
from trueslice.explain.similarity import unit_length

EMBEDDINGS = unit_length(np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32))


def test_kinds_are_ordered_and_no_two_are_of_one_unit():
    probabilities = np.random.default_rng(1).dirichlet(np.ones(4), 20)
    predictions = table(np.arange(20) % 4, probabilities, group=np.arange(20) // 2 * 2)
    examples = choose(predictions, np.arange(20) < 6, np.arange(20), np.arange(20, 40), EMBEDDINGS)
    for kind in ("mistake", "hit", "example"):
        own = examples.take(examples.kind == kind)
        assert len(own) and len({*(own.row // 2)}) == len(own)
        order = {"mistake": -1, "hit": 1, "example": 0}[kind]
        assert (order * np.diff(own.probability) >= 0).all()
        assert ((own.class_name == own.predicted) == (kind == "hit")).all() or kind == "example"
    nearest = 20 + np.argmax(EMBEDDINGS[examples.scan] @ EMBEDDINGS[20:].T, axis=1)
    assert np.array_equal(examples.nearest_1, nearest)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_training_scans_than_are_shown_are_enough(count):
    predictions = table([0, 1], [[0.9, 0.1], [0.8, 0.2]])
    examples = choose(predictions, np.zeros(2, bool), np.arange(2), np.arange(2, 2 + count), EMBEDDINGS)
    assert {*examples.nearest_3} <= {*range(2, 2 + count)}
