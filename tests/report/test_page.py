"""What the page shows, and that it stands alone."""

import re
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from tests.report.example_run import TIMING, changed, degenerate, drawing, example, png, promising, without_drawing
from trueslice.report.format import interval, percent, points, score
from trueslice.report.page import page
from trueslice.report.run import Run
from trueslice.report.templates import passages

FIGURES = list(passages("alt.jinja", example()))


class Page(HTMLParser):
    """Collects text, links and tags, and sees that every tag is closed in its turn."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.tags, self.links, self.pictures, self.words = [], [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]
        self.pictures += [value for name, value in attrs if name == "src"]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def made(run: Run, figures: dict[str, bytes] | None = None, **of_drawing) -> str:
    return page(run, figures or {}, "5ca45", drawing(**of_drawing))


def shown(run: Run, **of_drawing) -> str:
    """The page without figures, with spaces as they are typed."""
    return made(run, **of_drawing).replace("\N{NO-BREAK SPACE}", " ")


def rows(run: Run) -> list[str]:
    """The rows of all tables, cells divided by bars."""
    found = re.findall(r"<tr>(.*?)</tr>", shown(run), flags=re.DOTALL)
    return [re.sub(r"\s*(<[^>]+>\s*)+", "|", row).strip("|") for row in found]


def scored(record, name: str = "value", separator: str = "–") -> str:
    """A value and its interval as two cells are split."""
    return f"{score(record, name)}|{interval(record, name, separator)}"


@pytest.mark.parametrize("name", degenerate())
def test_the_page_is_well_formed_and_loads_nothing(name):
    text = made(degenerate()[name], dict.fromkeys(FIGURES, png()))
    assert text.startswith("<!DOCTYPE html>\n")
    assert text.endswith("</html>\n")
    parsed = Page(text)
    assert not parsed.open
    assert len(parsed.pictures) == len(FIGURES), "every figure has its place"
    assert all(picture.startswith("data:image/webp;base64,") for picture in parsed.pictures)
    assert all(link.startswith("#") for link in parsed.links)
    assert not {"script", "link", "iframe", "b"} & set(parsed.tags)
    assert "http" not in text
    assert "url(" not in text
    assert "None" not in text
    assert len(Page(made(example(), {"reliability": png()})).pictures) == 1


@pytest.mark.parametrize("names", [["<b>glioma & co</b>", '"no" $tumour'], ["total", "classes", "mean_over_classes"]])
def test_a_class_may_be_called_anything(names):
    run = example(names=names, negative=names[-1], leaks="keep")
    words = Page(made(run)).words
    assert all(words.count(name) >= 2 for name in names), "in the table of scores and in that of the split"
    assert f"Other classes called {names[-1]}" in words
    found = [unescape(row) for row in rows(run)]
    for name, part in zip(names, run.split.classes, strict=True):
        assert [row for row in found if row.startswith(f"{name}|80|80|{scored(run.intervals.find('recall', name))}|")]
        assert f"{name}|{part.train}|{part.val}|{part.test}|{part.leaked_test_scans}" in found


def test_the_headline_has_accuracy_interval_and_scans():
    run = example()
    text = shown(run)
    assert f"<strong>{percent(run.test.accuracy)}</strong>" in text
    ends = interval(run.intervals.find("accuracy"))
    assert f"accuracy on scans held out for the test (95 % interval {ends})" in text
    assert f"Unit of the interval: {run.intervals.unit.name}, {run.intervals.unit.count} in the test set" in text
    assert "160 test files, 160 distinct scans;\nofficial test set, leaks: drop_train." in text
    assert "accuracy on drawn scans held out" in shown(example(source="phantom"))
    assert "blocked split, an approximation" in shown(example(protocol="blocked"))


def test_a_percent_sign_never_begins_a_line():
    assert " %" not in made(example())


def with_baseline(**values) -> Run:
    run = example()
    first, *others = run.baselines.baselines
    best = first.model_copy(update={"accuracy": 0.999} | values)
    return changed(run, "baselines", baselines=[best, *others])


@pytest.mark.parametrize(
    ("run", "other", "caution"),
    [
        (example(leaks="keep"), example(), "Inflated: the model was trained or chosen on copies"),
        (example(), example(protocol="patients"), "test scans the model has seen other scans of the patient"),
        (
            with_baseline(difference_low=-0.01),
            with_baseline(difference_low=0.01),
            "Not shown to be better than the near",
        ),
        (
            with_baseline(difference_low=None),
            with_baseline(difference_low=0.01),
            "Not shown to be better than the near",
        ),
    ],
)
def test_what_makes_the_accuracy_doubtful_is_named_next_to_it(run, other, caution):
    text = shown(run)
    assert text.index("<strong>") < text.index(caution) < text.index("<h2 ")
    assert caution not in shown(other)


def test_a_value_that_is_not_defined_is_shown_with_its_reason():
    text = shown(degenerate()["nothing is defined"])
    assert "not defined<sup>1</sup>" in text
    notes = re.findall(r'<p class="note"><sup>(\d)</sup> (.*?)</p>', text)
    assert notes[:2] == [("1", "a has no test scan"), ("2", "a is never predicted")]
    assert "only once upside down" not in shown(example(negative=None))


def test_tables_of_scores_baselines_split_and_settings():
    run = example()
    found = rows(run)
    accuracy = scored(run.intervals.find("accuracy"), separator=" to ")
    assert f"this model|{accuracy}|–|{score(run.test, 'balanced_accuracy')}|{score(run.test, 'macro_f1')}" in found
    grey = run.baselines.baselines[2]
    ahead = scored(grey, "difference", " to ")
    row = f"histogram of grey values alone|{scored(grey, 'accuracy', ' to ')}|{ahead}|"
    assert f"{row}{score(grey, 'balanced_accuracy')}|{score(grey, 'macro_f1')}" in found
    by_chance = f"{run.test.calibration.ece_if_calibrated:.3f} by chance if perfectly calibrated"
    assert f"Expected calibration error (ECE)|{score(run.intervals.find('ece'))}|{by_chance}" in found
    split = run.split
    counts = (split.train, split.val, split.test, split.dropped_as_leaked, split.leaked_test_scans)
    assert "|".join(["all", *map(str, counts)]) in found
    settings = {row.split("|")[0] for row in found}
    assert {"split.leaks", "data.source", "seed", "external", "data.kaggle.dataset"} <= settings
    assert not {"train.device", "verify.device", "data.phantom.seed"} & settings


def test_the_table_in_brief_has_exposures_other_sets_and_the_best_baseline():
    run = example(leaks="keep")
    brief = rows(run)[1:8]
    assert [row.split("|")[0] for row in brief] == [
        "Internal test", "– of it, a copy was seen", "– of it, only the patient was seen", "– of it, neither was seen",
        "– of it, no copy seen, patient unknown", "External test, other_scanner",
        "Internal test, best baseline: nearest training scan by its pixels",
    ]  # fmt: skip
    assert brief[1].endswith(f"|{scored(run.exposures[0], 'accuracy', ' to ')}|{run.exposed('copy')}")
    assert brief[2].endswith(f"|{scored(run.exposures[1], 'accuracy', ' to ')}|{run.exposed('patient')}")
    assert not [row for row in rows(example(patients="none")) if row.startswith("– of it")], "there is one kind"


def test_tables_of_exposure_and_columns_have_a_row_for_each_kind_and_a_column_for_each_class():
    run = example(leaks="keep")
    found = rows(run)
    assert "Seen|all classes|glioma|notumor" in found
    copies, patients = (
        next(row for row in found if row.startswith(f"{kind} was seen|")) for kind in ("a copy", "only the patient")
    )
    seen = run.exposures[0]
    numbers = f"{seen.scans} scans, {seen.units} units"
    assert copies.split("|")[1:4] == [*scored(seen, "accuracy").split("|"), numbers]
    assert re.search(r"\|–\|\d+ scans, \d+ units\|–$", patients), "none in the last class"
    kinds = [row for row in run.test.by if row.value == "RGB"]
    cells = [f"|{scored(row, 'accuracy')}|{row.scans} scans, {row.units} units" for row in kinds]
    assert "mode: RGB" + "".join(cells) in found


def test_tables_of_patients_of_tumours_and_of_other_data_sets():
    run = example()
    found = rows(run)
    first = run.data.classes[0]
    assert f"glioma|{first.patients}|{first.patients_train}|{first.patients_test}|{first.patients_in_both}|0|" in (
        "\n".join(found)
    )
    point, value = run.test.tumour.operating_points[0], run.test.tumour.predictive_values[0]
    both = f"{scored(point, 'sensitivity')}|{scored(point, 'specificity')}"
    assert f"{percent(point.target)}|{point.threshold:.3f}|{both}" in found
    assert f"{percent(value.target)}|{percent(value.prevalence)}|{scored(value, 'ppv')}|{scored(value, 'npv')}" in found
    (other,) = run.external.sets
    assert f"Left out: copies of development scans|{other.dropped_as_development}" in found
    difference = points(other.accuracy - run.test.accuracy)
    assert f"Points above the internal test set ({percent(run.test.accuracy)})|{difference}" in found
    recall, lacking = other.classes
    ends = interval(recall, "recall", "–")
    assert f"Sensitivity: glioma|{percent(recall.recall)} of {recall.kept}|{ends}" in found
    assert lacking.kept == 0 and "Sensitivity: notumor|–" in found
    threshold = f"Tumours, threshold set for {percent(point.target)}"
    assert f"{threshold}: sensitivity|{scored(other.tumour[0], 'sensitivity')}" in found
    text = shown(example(negative=None, patients="none"))
    assert "Threshold" not in text
    assert "Files without patient" not in text


def test_tables_per_patient_have_the_known_classes_and_kinds_of_patients():
    run = example(patients="all")
    found = rows(run)
    glioma, numbers = run.patients.classes[0], ("recall", "f1", "auroc", "average_precision", "auroc_of_number")
    values = "|".join(scored(run.patients.find(name, "glioma")) for name in numbers)
    assert f"glioma|{glioma.patients}|{glioma.scans}|{values}" in found
    (row,) = [row for row in run.patients.groups if row.by == "scans"]
    assert f"distinct scans: {row.value}|{row.patients}|{scored(row, 'accuracy')}" in found
    assert not any(row.startswith("distinct scans") for row in rows(example(patients="none")))


def test_a_data_set_without_a_new_scan_has_dashes():
    run = example()
    (other,) = run.external.sets
    nothing = dict.fromkeys(("accuracy", "low", "high", "missing_classes_answered", "tumour", "nll", "ece"))
    empty = other.model_copy(update=nothing | {"kept": 0, "reason": "no scan counts"})
    found = rows(changed(run, "external", sets=[empty]))
    assert [row for row in found if row.startswith("Tumours, threshold") and row.endswith("|–")]
    assert "External test, other_scanner|not defined|no scan counts|0" in found


def test_intervals_that_cover_too_little_are_marked_and_explained_below_their_table():
    run = example()
    calibration = run.test.calibration.model_copy(update={"slope_covers": None})
    run = changed(run, "test", calibration=calibration)
    scores = [each.model_copy(update={"covers": None}) for each in run.intervals.intervals]
    areas = [each.model_copy(update={"covers": 0.9} if "auroc" in each.score else {}) for each in scores]
    run, without_mark = (changed(run, "intervals", intervals=intervals) for intervals in (areas, scores))
    marked = run.intervals.find("macro_auroc")
    text = shown(run)
    assert f"{interval(marked)}" in text and interval(marked).endswith("†")
    assert text.count(f'<p class="note">{run.too_narrow}</p>') == 3, "of all scores, of the classes, of the checklist"
    assert "†" not in shown(without_mark)


def test_every_paragraph_is_in_the_page():
    run = example()
    text = unescape(shown(run))
    assert all(paragraph in text for paragraph in passages("statement.jinja", run).values())


def test_headings_come_in_order_and_every_entry_of_the_contents_leads_to_one():
    text = shown(example())
    levels = [int(level) for level in re.findall(r"<h([1-6])", text)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    links = re.findall(r'href="#([^"]*)"', text)
    assert set(links) <= set(re.findall(r' id="([^"]*)"', text))
    assert len(links) == len(set(links)) == 10


def test_all_that_may_differ_between_two_drawings_is_in_one_section():
    run = example()
    changes = {"time": "2027-01-01 00:00 UTC", "commit": None, "training": TIMING.model_copy(update={"seconds": 7.0})}
    first, second = made(run), made(run, **changes)
    assert first != second
    assert without_drawing(first) == without_drawing(second)


def test_the_drawing_names_the_commit_and_the_changes_on_top():
    text = shown(example())
    assert "at commit 0123abcd." in text
    assert "The settings are those of params.yaml in that commit." in text
    settings = (("train.epochs", "14", "3"),)
    text = shown(example(), files=("params.yaml", "stages/train.py"), settings=settings)
    assert "at commit 0123abcd, with changes on top." in text
    assert "Changed since that commit: params.yaml, stages/train.py." in text
    assert "train.epochs</th><td>14</td><td>3</td>" in text
    assert "outside a Git repository" in shown(example(), commit=None)
    assert "2 min 30 s" in text


def test_the_page_names_its_data_and_checkpoint_and_fills_the_checklist():
    text = shown(example())
    assert "SHA-256 of data/scans/scans.csv: 5ca45" in text
    assert "torch 2.0, transformers 5.0" in text
    assert "This run fills 28" in text and "does not mean that a study complies" in text
    assert text.count('<tr class="open">') == 22


def test_every_picture_has_its_own_alternative_text():
    text = made(example(leaks="keep"), dict.fromkeys(FIGURES, png())).replace("\N{NO-BREAK SPACE}", " ")
    said = re.findall(r'alt="([^"]*)"', text)
    assert len(said) == len(FIGURES) == len(set(said))
    assert all(len(words) > 40 for words in said)
    assert "glioma: 74 as glioma, 6 as notumor" in text


def test_the_flow_of_files_goes_from_the_files_found_to_the_tests():
    run = example(leaks="keep")
    text = re.sub(r"\s*(<[^>]+>\s*)+", "|", re.search(r'<ol class="flow.*</ol>', shown(run), flags=re.DOTALL)[0])
    assert text.startswith("|Found|400 files|Left out|0 unreadable|Readable|400 files|330 distinct scans|")
    assert f"|{run.exposed('copy')}: a copy was seen|" in text
    assert "|Other data set other_scanner|100 files|Left out|9 copies of known scans|" in text
    assert text.endswith(f"|External test|90 scans|accuracy {percent(run.external.sets[0].accuracy)}|")
    assert "Split</strong><br>new: patients" in shown(example(protocol="patients"))


def test_the_table_of_explanations_has_a_row_for_each_kind_of_tumour():
    run = example()
    found = rows(run)
    first = run.explain.rows[0]
    numbers = f"{first.scans} scans, {first.units} units"
    assert f"all|{numbers}|{scored(run.pointing['explanation'])}|{scored(run.pointing['fixed_point'])}|" in (
        "\n".join(found)
    )
    kinds = [row.split("|")[0] for row in found if re.search(r"\|\d+ scans, \d+ units\|", row)]
    assert {"all", "glioma", "answer is right"} < set(kinds)
    without = shown(changed(run, "explain", scans=0, shown=False, rows=[]))
    assert numbers not in without and "No masks of the tumours are known" in without


def test_answered_scans_are_in_a_table_that_says_where_too_many_are_wrong():
    expected = {
        "Test set": "yes", "– of it, new patients": "yes", "– of it, patient unknown": "yes",
        "– of it, glioma": "yes", "– of it, notumor": "–", "Other data set elsewhere": "no",
    }  # fmt: skip
    last = {row.split("|")[0]: row.split("|")[-1] for row in rows(promising())}
    assert last.items() >= expected.items()
    assert any(row.startswith("Test set|") and row.endswith("no, perhaps by chance") for row in rows(promising(0.15)))
    assert "Answers that are withheld" in shown(promising()) and "Answers that are withheld" not in shown(example())
