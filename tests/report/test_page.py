"""What the report of a run says, for every way of dividing scans, and that its page stands alone."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tumorclip import params
from tumorclip.data import groups as audit
from tumorclip.data import split as splitting
from tumorclip.evaluate import baselines
from tumorclip.evaluate import score as scoring
from tumorclip.report import page as report

SETTINGS = params.load(Path(__file__).parents[2] / "params.yaml").model_dump(mode="json")
NAMES = ["glioma", "notumor"]


def example(
    names: list[str] = NAMES, negative: str | None = "notumor", published: bool = True, leaked: int = 35,
    conflicting: bool = False, drawn: bool = False, wrong: int = 6, **choices,
) -> report.Run:  # fmt: skip
    """A run over 120 training and 80 test scans of each class, of which `leaked` are copies of training scans.

    Of the test scans of each class the first `wrong` are taken for the next class.
    """
    count = len(names)
    classes = np.array([name for name in names for _ in range(200)])
    folders = np.array((["train"] * 120 + ["test"] * 80) * count) if published else np.full(200 * count, "")
    groups = np.arange(200 * count)
    for index in range(count):
        groups[200 * index + 120 : 200 * index + 120 + leaked] = groups[200 * index : 200 * index + leaked]
    if conflicting:
        groups[[100, 319]] = groups[100]
    paths = [f"{folder}/{name}/{row:04}.png" for row, (folder, name) in enumerate(zip(folders, classes, strict=True))]
    settings = SETTINGS | {"split": SETTINGS["split"] | choices, "evaluate": {"negative_class": negative}}
    settings["data"] = SETTINGS["data"] | {"source": "phantom" if drawn else "kaggle"}
    placed = splitting.split(paths, folders, classes, groups, **settings["split"])
    pairs = [
        audit.Pair(int(groups[row]), row, "exact", 1.0) for row in np.flatnonzero(groups != np.arange(len(groups)))
    ]
    test = placed.parts == "test"
    actual = np.array([names.index(name) for name in classes[test]])
    predicted = actual.copy()
    for index in range(count):
        predicted[np.flatnonzero(actual == index)[:wrong]] = (index + 1) % count
    probabilities = np.where(np.eye(count)[predicted] > 0, 0.8, 0.2 / (count - 1))
    fitted_on = set(groups[np.isin(placed.parts, ["train", "val"])])
    scores, intervals = scoring.evaluate(
        scoring.Predictions(actual, probabilities, probabilities, groups[test], placed.leaked[test]),
        names, negative, not fitted_on.isdisjoint(groups[test]), predicted,
    )  # fmt: skip
    guesses = {name: np.zeros_like(actual) for name in report.BASELINES}
    return report.Run(
        data={"decoded": len(classes), "unreadable_files": 0, **audit.summarise(folders, classes, groups, pairs)},
        split=splitting.count(placed, classes) | {"conflicting": [{}] * int(placed.conflicting.sum())},
        train={"temperature": 1.234},
        test=scores,
        baselines=baselines.evaluate(actual, groups[test], guesses, names, negative),
        intervals=intervals,
        distinct={name: len(np.unique(groups[test & (classes == name)])) for name in names},
        settings=settings,
        drawn=drawn,
    )


def text(run: report.Run) -> str:
    return "\n".join(report.statement(run).values())


CHOICES = [
    *({"protocol": "official", "leaks": leaks} for leaks in ("drop_train", "drop_test", "keep", "drop_random")),
    {"protocol": "grouped"},
    {"protocol": "blocked"},
]


@pytest.mark.parametrize("conflicts", ["drop", "keep"])
@pytest.mark.parametrize("leaked", [0, 1, 35])
@pytest.mark.parametrize("choices", CHOICES, ids=lambda choices: "-".join(choices.values()))
def test_every_way_of_dividing_has_whole_sentences(choices, leaked, conflicts):
    for more in ({}, {"folds": 4, "fold": 2, "copies": "one", "drawn": True}):
        run = example(leaked=leaked, conflicting=leaked == 1, conflicts=conflicts, **choices, **more)
        for paragraph in report.statement(run).values():
            assert paragraph.endswith(".")
            assert not re.search(r"None|nan|\{|\}|\.\.|  |\b0 of 0\b", paragraph), paragraph
            assert not re.search(r"\b1 [a-z ]*(scans|files|repetitions|points)\b", paragraph), paragraph


def test_it_says_how_many_files_are_how_many_scans_and_how_many_test_scans_have_a_copy():
    said = text(example())
    assert "400 files are 330 distinct scans: 70 scans occur more than once, the most frequent in 2 files." in said
    assert "70 of 160 published test scans (43.8%) have a copy in the published Training folder." in said
    assert "The audit found no copies: 400 files, as many distinct scans." in text(example(leaked=0))
    run = example()
    few = replace(run, data=run.data | {"unreadable_files": 1})
    assert "1 file could not be read and was left out." in text(few)


@pytest.mark.parametrize(
    ("choices", "says", "inflated"),
    [
        ({"leaks": "drop_train"}, "the 70 training scans that are copies of test scans were dropped", False),
        ({"leaks": "drop_test"}, "so that 90 test scans are left. That is another test set than the published", False),
        ({"leaks": "keep"}, "Nothing was done about copies (split.leaks: keep).", True),
        ({"leaks": "drop_random"}, "70 training scans were dropped at random, as many of each class", True),
        ({"protocol": "grouped"}, "divides all scans anew and ignores the published division", False),
        ({"protocol": "blocked"}, "cut into 20 blocks of consecutive file names", False),
        ({"published": False}, "The scans come without a published test set. This run divides all scans anew.", False),
        ({"leaks": "keep", "leaked": 0}, "0 of 160 published test scans (0.0%) have a copy", False),
        ({"folds": 4, "fold": 2}, "Fold 2 of 4 of the training scans was the validation set.", False),
        ({"protocol": "grouped", "folds": 4, "fold": 2}, "Fold 2 of 4 was the test set.", False),
    ],
    ids=str,
)
def test_it_says_what_was_done_about_copies_and_whether_the_scores_are_inflated(choices, says, inflated):
    run = example(**choices)
    said = text(run)
    assert says in said
    assert ("its scores on the test set are inflated" in said) == inflated
    assert (report.NO_COPY in said) != inflated
    assert ("Inflated" in report.page(run, {})) == inflated


def test_leaked_scans_are_held_against_clean_ones_only_where_both_are_enough():
    # The wrong ones come first, where the copies are.
    said = text(example(leaks="keep"))
    assert "(glioma, notumor), the mean accuracy is 82.9% on those with and 100.0% on those without" in said
    assert "No class has 30 distinct scans both with and without a copy" in text(example(leaks="keep", leaked=29))


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({}, "No copies stand under different classes."),
        ({"conflicting": True}, "1 distinct scan, in 2 files, stands under more than one class"),
        ({"conflicting": True}, "2 files of them in Training were left out; a published test set is not changed"),
        ({"conflicting": True, "conflicts": "keep"}, "They were kept as they are (split.conflicts: keep)."),
        ({"conflicting": True, "protocol": "grouped"}, "2 files were left out (split.conflicts: drop)."),
    ],
)
def test_it_says_what_was_done_about_copies_under_different_classes(choices, says):
    assert says in text(example(leaked=0, **choices))


def test_the_accuracy_comes_with_its_interval_per_file_and_per_distinct_scan():
    run = example()
    record = run.record("accuracy")
    interval = f"(95% interval {record['low']:.1%} to {record['high']:.1%})"
    assert f"recognises 92.5% {interval} of 160 test scans, each file counted." in text(run)
    assert "Every class has at least 30 distinct test scans." in text(run)
    few = replace(run, distinct={"glioma": 29})
    assert "the figures of glioma (29) and notumor (0): they say little on their own" in text(few)
    for words in (interval[1:-1].removeprefix("95% interval "), "160 test files, 160 distinct scans", "92.5%"):
        assert words in report.page(run, {})


def test_the_model_is_held_against_the_best_baseline():
    assert "does not exceed the best of these" in text(example(wrong=40))
    assert "The model exceeds the best of these by 42.5 percentage points." in text(example())
    assert "the nearest training scan by its pixels reaches an accuracy of 50.0%, " in text(example())


def test_limits_differ_between_people_and_phantoms():
    assert "slices of one patient are very probably on both sides of the split" in text(example())
    blocked = example(protocol="blocked")
    assert "may still be on both sides" in text(blocked)
    assert "this is an approximation" in text(blocked)
    assert "blocked split, an approximation" in report.page(blocked, {})
    for run in (example(drawn=True), example(drawn=True, protocol="blocked")):
        assert "patient" not in text(run)
        assert "The scans are phantoms" in text(run)
    for run in (example(), example(drawn=True)):
        assert "not for clinical use" in text(run)


def test_what_is_not_defined_is_said_with_its_reason():
    run = example(negative=None)
    assert "is not defined: evaluate.negative_class is null." in text(run)
    assert "upside down" not in report.page(run, {})
    never = example(wrong=80)
    never = replace(
        never,
        intervals=[
            row | {"value": None, "low": None, "high": None, "reason": "glioma is never predicted"}
            if (row["score"], row["class"]) == ("precision", "glioma")
            else row
            for row in never.intervals
        ],
    )
    page = report.page(never, {})
    assert "not defined<sup>1</sup>" in page
    assert "<sup>1</sup> glioma is never predicted</p>" in page


class Page(HTMLParser):
    """Collects text, links and tags, and sees that every tag is closed in its turn."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.tags, self.links, self.words = [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_well_formed_loads_only_its_figures_and_escapes_names():
    names = ["<b>glioma & co</b>", '"no" $tumour']
    links = {name: f"figures/{name}.png" for name in report.FIGURES}
    text = report.page(example(names=names, negative=names[1], leaks="keep"), links)
    page = Page(text)
    assert not page.open
    assert page.links == list(links.values())
    assert not {"script", "link", "iframe", "b"} & set(page.tags)
    assert "url(" not in text
    assert set(names) <= set(page.words)
    assert 'Other classes called "no" $tumour' in page.words
    assert Page(report.page(example(), {"reliability": "r.png"})).links == ["r.png"]


def test_tables_show_scores_baselines_split_and_settings():
    run = example()
    rows = re.findall(r"<tr>(.*?)</tr>", report.page(run, {}))
    rows = [re.sub(r"<[^>]+>", "|", row).replace("||", "|").strip("|") for row in rows]
    assert any(row.startswith("this model|92.5%|") for row in rows)
    assert any(row.startswith("the histogram of grey values alone|50.0%|") for row in rows)
    train = run.split["train"]
    assert any(row.startswith(f"glioma|{train['glioma']}|") for row in rows)
    assert any(row.startswith(f"all|{train['total']}|") and row.endswith("|70|70") for row in rows)
    assert any(re.match(r"glioma\|80\|80\|92\.5%\|", row) for row in rows)
    settings = {row.split("|")[0] for row in rows}
    assert {"split.leaks", "data.source", "train.seed"} <= settings
    assert not {"train.device", "verify.device", "data.phantom.seed"} & settings
    assert "data.kaggle.dataset" in settings
