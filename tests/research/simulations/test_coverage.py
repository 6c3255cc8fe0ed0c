"""That the intervals cover what they promise and that equal models are rarely called different, by simulation."""

import pytest

from research.simulations.coverage import (
    HEALTHY,
    HEAVY,
    OFFICIAL,
    false_positives,
    interval_coverage,
    score_coverage,
    sizes_of,
)

pytestmark = pytest.mark.slow


def test_the_group_sizes_are_those_of_the_official_test_set():
    sizes = sizes_of(OFFICIAL)
    assert (len(sizes), sizes.sum(), sizes.max()) == (986, 1311, 26)


@pytest.mark.parametrize("sharing", [0.8, 1.0])
@pytest.mark.parametrize("level", [0.80, 0.95])
def test_the_accuracy_interval_covers_95_percent_where_the_ungrouped_bootstrap_does_not(level, sharing):
    found = interval_coverage(sizes_of(OFFICIAL), level, sharing)
    # Near 1 Wilson's interval takes over, which is careful: too wide rather than too narrow.
    assert 0.93 <= found["ours"] <= (0.97 if level < 0.95 else 0.995)
    assert found["files"] < 0.90


@pytest.mark.parametrize(("groups", "level"), [(17, 0.95), (290, 0.98)])
def test_the_small_sample_interval_covers_where_the_group_bootstrap_does_not(groups, level):
    found = interval_coverage(sizes_of({1: groups}), level, 1.0)
    assert found["ours"] >= 0.93 > found["groups"]


@pytest.mark.parametrize("sizes", [HEALTHY, HEAVY])
@pytest.mark.parametrize("level", [0.80, 0.98])
def test_the_accuracy_interval_covers_with_few_groups_of_very_unequal_size(sizes, level):
    assert interval_coverage(sizes_of(sizes), level, 0.9)["ours"] >= 0.93


@pytest.mark.parametrize("level", [1.8, 3.0])
def test_the_intervals_of_shares_cover_with_45_patients_and_that_of_the_slope_is_known_not_to(level):
    covers = {row["score"]: row["covers"] for row in score_coverage("new patients", level, repeats=400)}
    assert 0.82 <= covers.pop("slope") < 0.95
    assert min(covers.values()) >= 0.90, covers


@pytest.mark.parametrize("sizes", [OFFICIAL, HEAVY])
def test_equal_models_are_called_different_in_5_percent_and_more_often_over_single_files(sizes):
    found = false_positives(sizes_of(sizes), level=0.90, sharing=1.0)
    assert 0.03 <= found["sign_flip"] <= 0.07
    assert found["mcnemar"] <= 0.06
    assert found["mcnemar_files"] > 0.11
