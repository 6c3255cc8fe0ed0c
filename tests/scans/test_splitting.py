import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorclip.errors import UserError
from tumorclip.scans import splitting

POLICIES = ("drop_train", "drop_test", "keep")


@st.composite
def tables(draw, published: bool | None = None):
    """Random scans: groups of uneven sizes, some over classes, some over Training and Testing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, labels = draw(st.integers(40, 200)), draw(st.integers(2, 4))
    groups = rng.integers(draw(st.integers(20, 150)), size=count)
    class_of_group = rng.integers(labels, size=150)
    classes = class_of_group[groups]
    strays = rng.random(count) < draw(st.sampled_from([0, 0.03]))
    classes[strays] = rng.integers(labels, size=strays.sum())
    first = np.array([np.flatnonzero(groups == group)[0] for group in groups])
    if published is None:
        published = draw(st.booleans())
    alone = draw(st.sampled_from(["", "train"]))
    official = np.where(rng.random(count) < 0.25, "test", "train") if published else np.full(count, alone)
    return official, np.array(list("abcd"))[classes], first


def split(table, leaks="drop_train", validation_share=0.2, test_share=0.2, seed=0) -> splitting.Split:
    return splitting.split(*table, leaks, validation_share, test_share, seed)


def groups_in(table, result: splitting.Split, part: str) -> set[int]:
    return set(table[2][result.parts == part].tolist())


@settings(deadline=None, max_examples=150)
@given(tables(), st.sampled_from(POLICIES), st.integers(0, 5))
def test_every_scan_is_placed_and_no_group_straddles(table, leaks: str, seed: int):
    official, classes, _ = table
    try:
        result = split(table, leaks, seed=seed)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert set(result.parts.tolist()) <= {"train", "val", "test", "dropped"} and len(result.parts) == len(official)
    for part in ("train", "val", "test"):
        assert set(classes[result.parts == part]) == set(classes)
    train, val, test = (groups_in(table, result, part) for part in ("train", "val", "test"))
    assert not train & val
    if leaks != "keep" or "test" not in official:
        assert not test & (train | val)
    if "test" in official:
        assert not np.any((result.parts == "test") & (official == "train"))
        assert not np.any(np.isin(result.parts, ["train", "val"]) & (official == "test"))
        if leaks != "drop_test":
            assert np.array_equal(result.parts == "test", official == "test")
    again = split(table, leaks, seed=seed)
    assert np.array_equal(result.parts, again.parts) and np.array_equal(result.leaked, again.leaked)


@settings(deadline=None, max_examples=60)
@given(tables(published=False), st.floats(0.1, 0.5), st.floats(0.1, 0.5))
def test_class_shares_are_kept_as_well_as_groups_allow(table, validation_share: float, test_share: float):
    try:
        result = split(table, validation_share=validation_share, test_share=test_share)
    except UserError:
        return
    _, classes, groups = table
    for name in set(classes):
        mine = (classes == name) & (result.parts != "dropped")
        sizes = np.unique(groups[mine], return_counts=True)[1]
        smallest, largest = sizes.min(), sizes.max()
        test, val = (int((mine & (result.parts == part)).sum()) for part in ("test", "val"))
        assert abs(test - test_share * mine.sum()) <= largest
        assert abs(val - validation_share * (mine.sum() - test)) <= largest
        assert test <= max(round(test_share * mine.sum()), smallest)


def singles(**counts: int):
    classes = np.repeat(list(counts), list(counts.values()))
    return np.full(len(classes), "train"), classes, np.arange(len(classes))


def test_shares_are_exact_where_no_scan_has_a_copy():
    result = split(singles(a=100, b=50), validation_share=0.1, test_share=0.2)
    counts = splitting.count(result, singles(a=100, b=50)[1])
    assert counts["test"] == {"total": 30, "a": 20, "b": 10}
    assert counts["val"] == {"total": 12, "a": 8, "b": 4}


def test_another_seed_holds_out_other_scans_and_one_class_does_not_disturb_another():
    table = singles(a=100, b=50)
    first, other = split(table, seed=0).parts, split(table, seed=1).parts
    assert not np.array_equal(first, other)
    fewer = split(singles(a=100, b=30), seed=0).parts
    assert np.array_equal(first[:100], fewer[:100])


#          0: clean   1, 2: copies, one in each folder   3: a copy in Testing of 4 and 5, of which 5 has another class
OFFICIAL = np.array(["train", "train", "test", "test", "train", "train", *["train"] * 12, "test", "test"])
CLASSES = np.array(["a", "a", "a", "a", "a", "b", *["a"] * 6, *["b"] * 6, "a", "b"])
GROUPS = np.array([0, 1, 1, 3, 3, 3, *range(6, 20)])
TABLE = OFFICIAL, CLASSES, GROUPS


@pytest.mark.parametrize(
    ("leaks", "dropped", "as_leaked", "tested"),
    [("drop_train", [1, 4, 5], 1, 4), ("drop_test", [2, 3, 4, 5], 2, 2), ("keep", [4, 5], 0, 4)],
)
def test_each_policy_drops_its_own_side(leaks: str, dropped: list[int], as_leaked: int, tested: int):
    result = split(TABLE, leaks)
    assert np.flatnonzero(result.parts == "dropped").tolist() == dropped
    assert np.flatnonzero(result.leaked).tolist() == [2, 3]
    counts = splitting.count(result, CLASSES)
    assert counts["dropped_as_conflicting"] == 2
    assert (counts["dropped_as_leaked"], counts["test"]["total"]) == (as_leaked, tested)
    assert counts["leaked_test_scans"] == (0 if leaks == "drop_test" else 2)


def leaky(class_name: str):
    """Class `class_name` has nothing but copies between the two folders."""
    official = np.array(["train", "test"] * 2 + ["train"] * 10 + ["test"] * 2)
    other = "b" if class_name == "a" else "a"
    return official, np.array([class_name] * 4 + [other] * 12), np.array([0, 0, 1, 1, *range(4, 16)])


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        (leaky("a"), {"leaks": "drop_train"}, ["split.leaks: drop_train", "no train scan of a"]),
        (leaky("b"), {"leaks": "drop_test"}, ["split.leaks: drop_test", "no test scan of b"]),
        (singles(a=30, b=1), {}, ["class b has 1 scan to divide between train and test"]),
        (
            singles(a=30, b=5),
            {"test_share": 0.05},
            ["split.test_share 0.05 leaves no test scan of b", "5 scans", "0.2"],
        ),
        (singles(a=30, b=5), {"validation_share": 0.1}, ["split.validation_share 0.1 leaves no val scan of b"]),
        (singles(a=30, b=5), {"validation_share": 0.95}, ["split.validation_share 0.95 leaves no training scan of b"]),
    ],
)
def test_a_class_left_without_scans_is_named_in_one_line(table, options: dict, words: list[str]):
    with pytest.raises(UserError) as error:
        split(table, **options)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def test_a_class_of_copies_of_one_scan_cannot_be_divided():
    official, classes, groups = singles(a=10, b=4)
    groups[classes == "b"] = 10
    with pytest.raises(UserError, match="class b has 4 scans .* no two that are not copies"):
        split((official, classes, groups))


def test_a_group_larger_than_the_share_is_taken_where_all_are():
    classes, groups = np.repeat(["a", "b"], 11), np.repeat([0, 5, 10, 11, 16, 21], [5, 5, 1] * 2)
    official = np.where(np.isin(groups, [10, 21]), "test", "train")
    result = split((official, classes, groups), validation_share=0.2)
    assert splitting.count(result, classes)["val"] == {"total": 10, "a": 5, "b": 5}
