from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scan_tables import pair_table, scan_table
from trueslice import params
from trueslice.copies import groups as grouping
from trueslice.errors import UserError
from trueslice.splits import split as splitting
from trueslice.tables.scans import Scans
from trueslice.tables.splits import Splits

POLICIES = ("drop_train", "drop_test", "keep", "drop_random")
DEFAULTS = {
    "protocol": "official",
    "leaks": "drop_train",
    "conflicts": "drop",
    "copies": "all",
    "blocks": 8,
    "folds": None,
    "fold": 1,
    "validation_share": 0.2,
    "test_share": 0.2,
    "seed": 0,
}


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


@st.composite
def choices(draw):
    """Random options, with all folds or none."""
    return {
        "protocol": draw(st.sampled_from(["official", "grouped", "blocked"])),
        "leaks": draw(st.sampled_from(POLICIES)),
        "conflicts": draw(st.sampled_from(["drop", "keep"])),
        "copies": draw(st.sampled_from(["all", "one"])),
        "folds": draw(st.sampled_from([None, 2, 3])),
        "seed": draw(st.integers(0, 5)),
    }


@st.composite
def patient_tables(draw, known: float | None = None, spanning: bool | None = None):
    """Random scans of random patients, with copies within and across patients, folders and classes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, patients = draw(st.integers(60, 200)), draw(st.integers(15, 60))
    patient = rng.choice(patients, count, p=rng.dirichlet(np.full(patients, draw(st.sampled_from([1, 5])))))
    shares = rng.dirichlet(np.full(3, draw(st.sampled_from([0.1, 1]))), patients)
    if not (draw(st.booleans()) if spanning is None else spanning):
        shares = np.eye(3)[np.arange(patients) % 3]
    classes = np.array(list("abc"))[[rng.choice(3, p=shares[number]) for number in patient]]
    copied = rng.choice(count, (draw(st.integers(0, 30)), 2))
    if spanning is False:
        copied = copied[classes[copied[:, 0]] == classes[copied[:, 1]]]
    groups = grouping.group(count, pair_table(*((min(pair), max(pair), "near", 0.99) for pair in copied)))
    known = draw(st.sampled_from([0.3, 0.8, 1])) if known is None else known
    names = np.where(rng.random(count) < known, np.char.add("p", patient.astype(str)), "")
    return scan_table(rng.choice(["train", "test"], count), classes, groups, patient=names)


def split(table, seed: int | None = None, **options) -> splitting.Result:
    """`seed` is both of the run and of the split, unless `split_seed` gives another to the split."""
    scans = table if isinstance(table, Scans) else scan_table(*table)
    seed = DEFAULTS["seed"] if seed is None else seed
    options["seed"] = options.pop("split_seed", seed)
    return splitting.split(scans, params.Split(**DEFAULTS | options), seed)


def groups_in(table, result: splitting.Result, part: str) -> set[int]:
    return set(table[2][result.splits.split == part].tolist())


def count(result: splitting.Result) -> dict[str, dict[str, int]]:
    """Every count in total and by class."""
    counts = splitting.count(result).model_dump(by_alias=True)
    keys = [key for key in counts["classes"][0] if key != "class"]
    return {key: {"total": counts[key]} | {row["class"]: row[key] for row in counts["classes"]} for key in keys}


@settings(deadline=None, max_examples=100)
@given(tables(), choices())
def test_every_scan_is_placed_and_no_group_straddles(table, options: dict):
    official, classes, _groups = table
    try:
        result = split(table, **options)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert set(result.splits.split.tolist()) <= {"train", "val", "test", "dropped"} and len(result.splits.split) == len(
        official
    )
    assert np.array_equal(result.splits.split == "dropped", result.splits.reason != "")
    for part in ("train", "val", "test"):
        assert set(classes[result.splits.split == part]) == set(classes)
    train, val, test = (groups_in(table, result, part) for part in ("train", "val", "test"))
    published = options["protocol"] == "official" and "test" in official
    assert (result.protocol == "official") == published
    assert not train & val
    if not published or options["leaks"] in ("drop_train", "drop_test"):
        assert not test & (train | val)
    if published:
        assert not np.any((result.splits.split == "test") & (official == "train"))
        assert not np.any(np.isin(result.splits.split, ["train", "val"]) & (official == "test"))
        if options["leaks"] != "drop_test":
            assert np.array_equal(result.splits.split == "test", official == "test")
    if options["conflicts"] == "drop":
        assert not np.any(result.conflicting & (result.splits.split == "train"))
    else:
        assert "conflicting" not in result.splits.reason
    if options["copies"] == "one":
        assert len(train) == (result.splits.split == "train").sum()
    else:
        assert "repeated" not in result.splits.reason
    assert split(table, **options).splits.text() == result.splits.text()


@settings(deadline=None, max_examples=60)
@given(tables(published=True), choices(), st.integers(0, 2**32 - 1))
def test_a_published_validation_folder_is_the_validation_under_official(table, options: dict, seed: int):
    official, classes, groups = table
    moved = (official == "train") & (np.random.default_rng(seed).random(len(official)) < 0.3)
    options |= {"protocol": "official", "folds": None}
    try:
        result = split((np.where(moved, "val", official), classes, groups), **options)
    except UserError:
        return
    parts = result.splits.split
    assert set(parts[moved].tolist()) <= {"val", "dropped"}
    assert np.array_equal(parts == "val", moved & (parts != "dropped"))
    assert set(parts[official == "test"].tolist()) <= {"test", "dropped"}
    train, val, test = (groups_in(table, result, part) for part in ("train", "val", "test"))
    if options["leaks"] in ("drop_train", "drop_test"):
        assert not train & val and not test & (train | val)
    elif options["leaks"] == "keep" and options["conflicts"] == "keep" and options["copies"] == "all":
        assert "dropped" not in parts


def test_folds_and_a_published_validation_folder_exclude_each_other():
    official = np.repeat(["train", "val", "test"], 20)
    table = official, np.tile(["a", "b"], 30), np.arange(60)
    with pytest.raises(UserError, match=r"folder Validation has them; set split.folds to null, or take another"):
        split(table, folds=2)
    assert split(table, folds=2, protocol="grouped").splits.split.tolist().count("test") == 30


@settings(deadline=None, max_examples=40)
@given(tables(), choices(), st.integers(2, 4))
def test_the_folds_divide_what_is_held_out(table, options: dict, folds: int):
    """Every scan that is not dropped before is held out in exactly one fold, and no group in two."""
    try:
        results = [split(table, **options | {"folds": folds, "fold": fold}) for fold in range(1, folds + 1)]
    except UserError:
        return
    official, classes, groups = table
    part = "val" if results[0].protocol == "official" else "test"
    held_out = np.stack([result.splits.split == part for result in results])
    apart = np.isin(results[0].splits.reason, ["conflicting", "leaked", "at random"])
    divided = ~apart & ~((results[0].protocol == "official") & (official == "test"))
    assert np.array_equal(held_out.sum(axis=0), divided.astype(int))
    for group in np.unique(groups[divided]):
        assert held_out[:, divided & (groups == group)].any(axis=1).sum() == 1
    if options["conflicts"] == "drop" and results[0].protocol != "blocked":
        for name in np.unique(classes):
            sizes = held_out[:, classes == name].sum(axis=1)
            assert (
                sizes.max() - sizes.min() <= np.unique(groups[divided & (classes == name)], return_counts=True)[1].max()
            )


@settings(deadline=None, max_examples=40)
@given(tables(published=True), choices())
def test_dropping_at_random_drops_as_many_of_each_class_as_dropping_what_is_leaked(table, options: dict):
    options |= {"protocol": "official"}
    try:
        leaked = count(split(table, **options | {"leaks": "drop_train"}))
        random = count(split(table, **options | {"leaks": "drop_random"}))
    except UserError:
        return
    assert random["dropped_at_random"] == leaked["dropped_as_leaked"]
    assert random["dropped_as_conflicting"] == leaked["dropped_as_conflicting"]
    assert random["dropped_as_leaked"]["total"] == leaked["dropped_at_random"]["total"] == 0
    if options["copies"] == "all":
        assert random["train"]["total"] + random["val"]["total"] == leaked["train"]["total"] + leaked["val"]["total"]


def test_dropping_at_random_follows_the_seed_and_spares_no_copy_for_being_one():
    official = np.array((["train"] * 40 + ["test"] * 20) * 2)
    table = (
        official,
        np.repeat(["a", "b"], 60),
        np.concatenate([np.arange(40), np.arange(20)] * 2) + np.repeat([0, 50], 60),
    )
    drawn = [split(table, leaks="drop_random", seed=seed).splits.reason == "at random" for seed in range(20)]
    assert all(chosen.sum() == 40 for chosen in drawn)
    often = np.sum(drawn, axis=0)[official == "train"]
    assert often.min() >= 2 and often.max() <= 18


@settings(deadline=None, max_examples=40)
@given(tables(), st.sampled_from(["grouped", "blocked"]), st.floats(0.1, 0.5), st.floats(0.1, 0.5))
def test_class_shares_are_kept_as_well_as_units_allow(table, protocol, validation_share: float, test_share: float):
    try:
        result = split(table, protocol=protocol, validation_share=validation_share, test_share=test_share)
    except UserError:
        return
    _official, classes, groups = table
    for name in set(classes):
        mine = (classes == name) & (result.splits.split != "dropped")
        largest = np.unique(groups[mine], return_counts=True)[1].max()
        if protocol == "blocked":
            largest += (
                -(-(classes == name).sum() // DEFAULTS["blocks"]) + np.unique(groups, return_counts=True)[1].max()
            )
        test, val = (int((mine & (result.splits.split == part)).sum()) for part in ("test", "val"))
        assert abs(test - test_share * mine.sum()) <= largest
        assert abs(val - validation_share * (mine.sum() - test)) <= largest


@settings(deadline=None, max_examples=60)
@given(patient_tables(), choices())
def test_no_patient_and_no_copy_stands_on_two_sides_of_a_split_by_patients(scans: Scans, options: dict):
    options |= {"protocol": "patients"}
    try:
        result = split(scans, **options)
    except UserError as error:
        assert "\n" not in str(error)
        return
    parts = result.splits.split
    assert set(parts) <= {"train", "val", "test", "dropped"} and len(parts) == len(scans)
    assert np.array_equal(parts == "dropped", result.splits.reason != "")
    for one in [scans.patient == name for name in set(scans.patient) - {""}] + [
        scans.group == number for number in set(scans.group)
    ]:
        assert len(set(parts[one]) - {"dropped"}) <= 1
    counts = count(result)
    assert counts["patients_in_train_and_test"]["total"] == counts["leaked_by_patient"]["total"] == 0
    assert split(scans, **options).splits.text() == result.splits.text()


@settings(deadline=None, max_examples=25)
@given(patient_tables(), st.sampled_from([None, 3]))
def test_another_seed_of_the_run_moves_no_test_scan_of_a_split_by_patients(scans: Scans, folds: int | None):
    try:
        parts = [split(scans, seed, split_seed=0, protocol="patients", folds=folds).splits.split for seed in range(3)]
    except UserError:
        return
    assert all(np.array_equal(parts[0] == "test", other == "test") for other in parts)


def test_the_seed_of_the_run_draws_validation_patients_and_the_seed_of_the_split_draws_test_patients():
    scans = of_patients(a="abcdefghijklmnopqrst" * 3, b="ABCDEFGHIJKLMNOPQRST" * 3)
    first = split(scans, 0, protocol="patients").splits.split
    other = split(scans, 1, split_seed=0, protocol="patients").splits.split
    assert not np.array_equal(first == "val", other == "val")
    other = split(scans, 0, split_seed=1, protocol="patients").splits.split
    assert not np.array_equal(first == "test", other == "test")


@settings(deadline=None, max_examples=40)
@given(patient_tables(known=1, spanning=False), st.floats(0.1, 0.5))
def test_a_share_of_patients_of_one_class_is_off_by_half_of_one_patient_at_most(scans: Scans, share: float):
    try:
        parts = split(scans, protocol="patients", test_share=share).splits.split
    except UserError:
        return
    units = grouping.units(scans)
    for name in set(scans.class_name):
        own = scans.class_name == name
        sizes = np.unique(units[own], return_counts=True)[1]
        tested = np.sum(own & (parts == "test"))
        nothing_fits = tested == sizes.min() >= 2 * round(share * own.sum())
        assert abs(tested - share * own.sum()) <= sizes.max() / 2 + 0.5 or nothing_fits


@settings(deadline=None, max_examples=40)
@given(patient_tables(known=1), st.integers(2, 4))
def test_folds_of_patients_are_as_even_in_all_classes_as_folds_at_random_are_on_average(scans: Scans, folds: int):
    options = {"protocol": "patients", "conflicts": "keep", "folds": folds}
    try:
        parts = [split(scans, fold=fold, **options).splits.split for fold in range(1, folds + 1)]
    except UserError:
        return
    held_out = np.stack(parts) == "test"
    assert held_out.sum(axis=0).tolist() == [1] * len(scans)
    units, observed, expected = grouping.units(scans), 0.0, 0.0
    for name in set(scans.class_name):
        own = scans.class_name == name
        shares = np.unique(units[own], return_counts=True)[1] / own.sum()
        observed += ((held_out[:, own].mean(axis=1) - 1 / folds) ** 2).sum()
        expected += (1 - 1 / folds) * (shares**2).sum()
    assert observed <= expected + 1e-9


def test_classes_that_share_patients_get_their_shares_together():
    """Every patient has scans of both classes, each in another ratio; compared with patients drawn at random."""
    errors, at_random = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        patient = rng.integers(30, size=300)
        classes = np.where(rng.random(300) < rng.random(30)[patient], "a", "b")
        scans = scan_table([""] * 300, classes, np.arange(300), patient=np.char.add("p", patient.astype(str)))
        tested = split(scans, seed, protocol="patients").splits.split == "test"
        for name in "ab":
            shares = np.unique(patient[classes == name], return_counts=True)[1] / np.sum(classes == name)
            errors.append((tested[classes == name].mean() - 0.2) ** 2)
            at_random.append(0.2 * 0.8 * (shares**2).sum())
    assert np.mean(errors) < np.mean(at_random) / 10


def test_scans_without_a_patient_go_by_blocks_of_names_unless_a_copy_has_one():
    scans, _ = numbered(100, 20)
    patient = np.where(np.arange(120) % 4, "", np.char.add("p", (np.arange(120) // 12).astype(str)))
    group = np.arange(120)
    group[1::12] = np.arange(0, 120, 12)  # these have no patient, but are copies of scans that have
    scans = replace(scans, group=group, patient=patient)
    result = split(scans, protocol="patients", folds=4)
    assert count(result)["placed_by_names"]["total"] == 80
    blocks = splitting.name_blocks(scans, DEFAULTS["blocks"])
    by_names = ~np.isin(group, group[patient != ""])
    parts = result.splits.split
    assert all(len(set(parts[by_names & (blocks == block)])) == 1 for block in range(8))
    assert np.array_equal(parts[1::12], parts[::12])


@pytest.mark.parametrize("protocol", ["official", "grouped", "blocked"])
def test_the_frames_of_a_file_are_never_divided(protocol: str):
    official = np.repeat(["train", "test"], [120, 24])
    file = np.arange(144) // 6
    path = np.array([f"{official[row]}/{file[row]}.dcm, frame {row % 6 + 1}" for row in range(144)])
    scans = scan_table(official, np.where(file % 2, "a", "b"), np.arange(144), path=path)
    parts = split(scans, protocol=protocol, blocks=7).splits.split
    assert all(len(set(parts[file == number])) == 1 for number in range(24))
    assert set(parts) == {"train", "val", "test"}


def numbered(train: int, test: int):
    """One class of files numbered from 1 in either folder, in a shuffled order, no copies."""
    official = np.array(["train"] * train + ["test"] * test)
    numbers = np.concatenate([np.arange(1, train + 1), np.arange(1, test + 1)])
    shuffled = np.random.default_rng(0).permutation(train + test)
    official, numbers = official[shuffled], numbers[shuffled]
    paths = [f"{folder}/a/a_{number}.jpg" for folder, number in zip(official, numbers, strict=True)]
    scans = scan_table(official, np.full(train + test, "a"), np.arange(train + test), path=np.array(paths))
    return scans, numbers


def test_blocks_are_runs_of_numbers_side_by_side_in_both_folders():
    scans, numbers = numbered(100, 20)
    blocks = splitting.name_blocks(scans, 10)
    assert np.bincount(blocks).tolist() == [12] * 10
    for folder, length in (("train", 10), ("test", 2)):
        own = scans.official_split == folder
        assert np.array_equal(blocks[own], (numbers[own] - 1) // length)


def test_a_group_of_copies_stands_where_its_first_file_does():
    scans, numbers = numbered(100, 0)
    groups = np.minimum(numbers, 101 - numbers)
    blocks = splitting.name_blocks(replace(scans, group=groups), 5)
    assert np.array_equal(blocks, (groups - 1) // 10)


def test_a_block_is_never_divided():
    scans, _ = numbered(100, 20)
    scans = replace(scans, class_name=np.where(np.arange(120) % 2, "a", "b"))
    parts = split(scans, protocol="blocked", folds=3).splits.split
    blocks = splitting.name_blocks(scans, DEFAULTS["blocks"])
    assert all(len(set(parts[blocks == block])) == 1 for block in range(16))
    assert set(parts) == {"train", "val", "test"}


def singles(**counts: int):
    classes = np.repeat(list(counts), list(counts.values()))
    return np.full(len(classes), "train"), classes, np.arange(len(classes))


def test_shares_are_exact_where_no_scan_has_a_copy():
    result = split(singles(a=100, b=50), validation_share=0.1, test_share=0.2)
    counts = count(result)
    assert counts["test"] == {"total": 30, "a": 20, "b": 10}
    assert counts["val"] == {"total": 12, "a": 8, "b": 4}


def test_another_seed_holds_out_other_scans_and_one_class_does_not_disturb_another():
    table = singles(a=100, b=50)
    first = split(table, seed=0).splits.split
    other = split(table, seed=1).splits.split
    assert not np.array_equal(first, other)
    fewer = split(singles(a=100, b=30), seed=0).splits.split
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
    result = split(TABLE, leaks=leaks)
    assert np.flatnonzero(result.splits.split == "dropped").tolist() == dropped
    assert np.flatnonzero(result.splits.leaked == "copy").tolist() == [2, 3]
    counts = count(result)
    assert counts["dropped_as_conflicting"] == {"total": 2, "a": 1, "b": 1}
    assert (counts["dropped_as_leaked"]["total"], counts["test"]["total"]) == (as_leaked, tested)
    assert counts["leaked_test_scans"]["total"] == (0 if leaks == "drop_test" else 2)
    assert np.flatnonzero(result.conflicting).tolist() == [3, 4, 5]


def test_one_file_of_a_scan_trains_while_val_keeps_all():
    classes, groups = np.repeat(["a", "b"], 30), np.arange(60) // 3
    official = np.where(np.isin(groups, [0, 10]), "test", "train")
    result = split((official, classes, groups), copies="one", validation_share=0.33)
    counts = count(result)
    assert counts["val"] == {"total": 18, "a": 9, "b": 9} and counts["test"]["total"] == 6
    assert counts["train"] == {"total": 12, "a": 6, "b": 6}
    assert counts["dropped_as_repeated"] == {"total": 24, "a": 12, "b": 12}
    assert all(np.flatnonzero(result.splits.split == "train") % 3 == 0)


def leaky(class_name: str):
    """Class `class_name` has nothing but copies between the two folders."""
    official = np.array(["train", "test"] * 2 + ["train"] * 10 + ["test"] * 2)
    other = "b" if class_name == "a" else "a"
    return official, np.array([class_name] * 4 + [other] * 12), np.array([0, 0, 1, 1, *range(4, 16)])


def of_patients(**patients: str):
    """Scans of classes a and b, each of the patient that its letter names; `-` for none."""
    classes = np.repeat(list(patients), [len(letters) for letters in patients.values()])
    names = np.array(list("".join(patients.values()).replace("-", " "))).astype("<U2")
    count = len(classes)
    return scan_table(["train"] * count, classes, np.arange(count), patient=np.char.strip(names))


def test_a_table_of_patients_of_one_class_leaves_the_others_to_the_names():
    counts = count(split(of_patients(a="aabbccddee", b="-" * 20), protocol="patients", folds=4))
    assert counts["placed_by_names"] == {"total": 20, "a": 0, "b": 20}
    assert counts["patients_test"]["b"] == 0 < counts["patients_test"]["a"]


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
        (singles(a=30, b=5), {"folds": 6}, ["class b has 5 groups of copies to divide", "split.folds: 6; lower"]),
        (
            singles(a=30, b=30),
            {"protocol": "blocked", "blocks": 3, "folds": 4},
            ["class a has 3 blocks of file names to divide", "split.folds: 4; lower split.folds or raise split.blocks"],
        ),
        (
            singles(a=30, b=30),
            {"protocol": "blocked", "blocks": 2},
            ["class a has 15 scans to divide between train and val", "raise split.blocks"],
        ),
        (singles(a=9, b=9), {"protocol": "patients"}, ["no scan has a known patient", "verify.patients"]),
        (
            of_patients(a="aaabbbccc", b="dddeeefff"),
            {"protocol": "patients", "folds": 4},
            ["class a has 3 patients or blocks of file names to divide, fewer than split.folds: 4; lower split.folds"],
        ),
        (
            of_patients(a="aaabbbccc", b="dddd"),
            {"protocol": "patients"},
            ["class b has 4 scans to divide", "not two patients or blocks of file names", "scans of more patients"],
        ),
    ],
)
def test_a_class_left_without_scans_is_named_in_one_line(table, options: dict, words: list[str]):
    with pytest.raises(UserError) as error:
        split(table, **options)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def test_a_class_of_copies_of_one_scan_cannot_be_divided():
    official, classes, groups = singles(a=10, b=4)
    groups[classes == "b"] = 10
    with pytest.raises(UserError, match=r"class b has 4 scans .* not two groups of copies"):
        split((official, classes, groups))


def test_a_group_larger_than_the_share_is_taken_where_all_are():
    classes, groups = np.repeat(["a", "b"], 11), np.repeat([0, 5, 10, 11, 16, 21], [5, 5, 1] * 2)
    official = np.where(np.isin(groups, [10, 21]), "test", "train")
    result = split((official, classes, groups), validation_share=0.2)
    assert count(result)["val"] == {"total": 10, "a": 5, "b": 5}


#    train: copied, seen, none's copy   val: seen   dropped: linked to an unseen patient   test: see below
PARTS = ["train", "train", "train", "val", "dropped", *["test"] * 7]
SPLITS = Splits(
    path=np.arange(12).astype(str),
    class_name=np.array(["a", "b"] * 6),
    pixel_hash=np.arange(12).astype(str),
    #                        copy, copy of val, patient, of val, copy of a dropped one, new, none
    group=np.array([0, 1, 2, 3, 4, 0, 3, 7, 8, 4, 10, 11]),
    patient=np.array(["p", "p", "", "q", "r", "p", "q", "p", "q", "", "s", ""]),
    unit=np.array([0, 0, 2, 3, 4, 0, 3, 0, 3, 4, 10, 11]),
    split=np.array(PARTS),
    reason=np.array(["leaked" if part == "dropped" else "" for part in PARTS]),
    leaked=np.full(12, ""),
)


def test_exposure_is_by_copy_before_patient_and_unknown_without_either():
    columns = SPLITS.columns_of("test", ["a", "b"])
    assert columns["exposure"].tolist() == ["copy", "copy", "patient", "patient", "neither", "neither", "unknown"]
    assert columns["y_true"].tolist() == [1, 0, 1, 0, 1, 0, 1] and columns["class_names"] == ("a", "b")
    assert columns["unit"].tolist() == [0, 3, 0, 3, 4, 10, 11]


def test_validation_scans_are_exposed_by_training_scans_alone():
    assert SPLITS.columns_of("val", ["a", "b"])["exposure"].tolist() == ["neither"]
    splits = replace(SPLITS, split=np.where(np.arange(12) == 8, "train", SPLITS.split))
    assert splits.columns_of("val", ["a", "b"])["exposure"].tolist() == ["patient"]


def test_what_the_split_leaves_of_patients_is_counted():
    counts = count(splitting.Result("official", SPLITS, np.zeros(12, bool)))
    assert counts["leaked_by_patient"] == {"total": 2, "a": 1, "b": 1}
    assert counts["patients_in_train_and_test"] == {"total": 2, "a": 1, "b": 1}
    assert (counts["patients_train"]["total"], counts["patients_test"]["total"]) == (1, 3)
    assert counts["units"] == {"total": 6, "a": 5, "b": 4}
    assert counts["placed_by_names"]["total"] == 0
