"""Intervals that are planned, against those of simulated runs and of a real one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.made import table
from trueslice.evaluate.intervals import GroupBootstrap, resample_counts, share_interval, wilson_interval
from trueslice.evaluate.plan import Design, design_of, expected
from trueslice.tables.predictions import Predictions

RUN = Path(__file__).parents[2] / "plots/predictions.csv"


def drawn(design: Design, sizes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw the number of right scans of each patient; two scans of one correlate as in the design."""
    total = 1 / design.correlation - 1
    shares = generator.beta(total * design.accuracy, total * (1 - design.accuracy), len(sizes))
    return generator.binomial(sizes, shares).astype(float)


@pytest.mark.parametrize(
    ("accuracy", "correlation", "patients", "most", "repeats"),
    [(0.9, 0.6, 60, 1, 400), (0.9, 0.6, 60, 9, 400), (0.97, 0.3, 150, 9, 400), (0.85, 0.3, 500, 4, 20),
     (0.85, 0.9, 700, 9, 20)],
)  # fmt: skip
def test_simulated_runs_have_the_planned_interval(accuracy, correlation, patients, most, repeats):
    generator = np.random.default_rng(0)
    sizes = np.arange(patients) % most + 1.0
    design = Design(accuracy, sizes.mean(), sizes.var() / sizes.mean() ** 2, correlation)
    counts = resample_counts(patients, 2000, 0)
    widths = []
    for _ in range(repeats):
        low, high, *_ = share_interval(drawn(design, sizes.astype(int), generator), sizes, counts)
        widths.append(high - low)
    low, high = expected(design, patients)
    assert high - low == pytest.approx(np.median(widths), rel=0.07)


def test_the_plan_like_a_run_gives_the_interval_of_that_run_and_of_parts_of_it():
    run = Predictions.read(RUN)
    design, bootstrap = design_of(run), GroupBootstrap(run.unit)
    right = run.y_pred == run.y_true
    found = bootstrap.share(right, np.ones_like(right)).interval
    units = bootstrap.counts.shape[1]
    assert expected(design, units) == pytest.approx((found.low, found.high), abs=0.003)
    generator, part, whole = np.random.default_rng(0), bootstrap.sizes(right), bootstrap.sizes(np.ones(len(run)))
    parts = (generator.choice(units, 40, replace=False) for _ in range(400))
    ends = [share_interval(part[rows], whole[rows], resample_counts(40, 2000, 0))[:2] for rows in parts]
    assert expected(design, 40) == pytest.approx(tuple(np.median(ends, axis=0)), abs=0.015)


def test_one_scan_a_patient_is_wilsons_interval_and_more_scans_narrow_only_large_samples():
    one, ten = Design(0.9, 1, 0, 0.5), Design(0.9, 10, 0, 0.5)
    assert expected(one, 100) == pytest.approx(wilson_interval(0.9, 100), abs=0.003)
    assert expected(ten, 100) == pytest.approx(expected(one, 100), abs=0.003)
    (low, high), (of_one, to_one) = expected(ten, 1000), expected(one, 1000)
    assert high - low == pytest.approx((to_one - of_one) * np.sqrt(0.55))


@pytest.mark.parametrize("correlation", [0.1, 0.5, 0.9])
def test_the_correlation_within_units_is_recovered(correlation):
    sizes = np.arange(3000) % 6 + 1
    counts = drawn(Design(0.8, 3.5, 0, correlation), sizes, np.random.default_rng(0)).astype(int)
    unit = np.repeat(np.arange(3000), sizes)
    right = np.concatenate([np.arange(size) < count for size, count in zip(sizes, counts, strict=True)])
    run = table(np.zeros(len(unit), int), np.where(right[:, None], [1, 0], [0, 1]), unit=unit)
    design = design_of(run)
    assert design.correlation == pytest.approx(correlation, abs=0.03)
    assert (design.accuracy, design.scans) == (right.mean(), sizes.mean())
    assert design.unequal == pytest.approx(sizes.var() / sizes.mean() ** 2)


def test_where_nothing_tells_the_correlation_it_is_taken_as_the_most_careful():
    run = table([0, 0, 1], [[1, 0], [0, 1], [0, 1]])
    right = replace(run, y_pred=run.y_true, unit=np.array([0, 0, 1]))
    for none in (run, replace(run, unit=np.zeros(3, int)), right):
        assert design_of(none).correlation == 1
