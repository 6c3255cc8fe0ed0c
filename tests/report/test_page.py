"""What the page shows, and that it stands alone."""

import itertools
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest

from tests.report.example_run import NAMES, TIMING, degenerate, drawing, example, explained, png, without_drawing
from trueslice.report.alt import alternatives
from trueslice.report.page import CAPTIONS, FIGURES, SECTIONS, page
from trueslice.report.run import Run
from trueslice.report.text import statement


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


@pytest.mark.parametrize("name", degenerate())
def test_the_page_is_well_formed_and_loads_nothing(name):
    text = made(degenerate()[name], dict.fromkeys(CAPTIONS, png()))
    assert text.startswith("<!DOCTYPE html>\n")
    assert text.endswith("</html>\n")
    parsed = Page(text)
    assert not parsed.open
    assert len(parsed.pictures) == len(CAPTIONS)
    assert all(picture.startswith("data:image/webp;base64,") for picture in parsed.pictures)
    assert all(link.startswith("#") for link in parsed.links)
    assert not {"script", "link", "iframe", "b"} & set(parsed.tags)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
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
    for name in names:
        assert [row for row in found if row.startswith(f"{name}|80|80|92.5 %|87.5 %–97.5 %|")]
        assert f"{name}|103|17|80|35" in found


def test_the_headline_has_accuracy_interval_and_scans():
    text = shown(example())
    assert "<strong>92.5 %</strong>" in text
    assert "accuracy on scans held out for the test (95 % interval 87.5 % to 97.5 %)" in text
    assert "160 test files, 160 distinct scans;\nofficial test set, leaks: drop_train." in text
    assert "accuracy on drawn scans held out" in shown(example(source="phantom"))
    assert "blocked split, an approximation" in shown(example(protocol="blocked"))


def test_a_percent_sign_never_stands_alone_at_the_start_of_a_line():
    assert " %" not in made(example())


def test_inflated_scores_are_marked_beside_the_headline():
    assert "Inflated" not in shown(example())
    text = shown(example(leaks="keep"))
    assert text.index("<strong>") < text.index("Inflated") < text.index("<h2 ")


def test_what_is_not_defined_is_shown_with_its_reason():
    text = shown(degenerate()["nothing is defined"])
    assert "not defined<sup>1</sup>" in text
    notes = re.findall(r'<p class="note"><sup>(\d)</sup> (.*?)</p>', text)
    assert notes[:2] == [("1", "a has no test scan"), ("2", "a is never predicted")]
    assert "upside down" not in shown(example(negative=None))


def test_tables_show_scores_baselines_split_and_settings():
    run = example()
    found = rows(run)
    train = run.split["classes"][0]["train"]
    assert "this model|92.5 %|87.5 % to 97.5 %|–|92.5 %|0.925" in found
    assert "histogram of grey values alone|30.0 %|25.0 % to 35.0 %|+62.5|+57.5 to +67.5|30.0 %|0.300" in found
    assert "Expected calibration error (ECE)|0.031|0.024 by chance if perfectly calibrated" in found
    assert f"glioma|{train}|{run.split['classes'][0]['val']}|80|35|35" in found
    assert f"all|{2 * train}|{run.split['val']}|160|70|70" in found
    assert any(row.startswith("glioma|80|80|92.5 %|87.5 %–97.5 %|") for row in found)
    settings = {row.split("|")[0] for row in found}
    assert {"split.leaks", "data.source", "seed", "external", "data.kaggle.dataset"} <= settings
    assert not {"train.device", "verify.device", "data.phantom.seed"} & settings


def test_the_table_in_brief_sets_what_was_seen_other_sets_and_the_best_baseline_below_the_headline():
    found = rows(example(leaks="keep"))
    brief = found[1:8]
    assert [row.split("|")[0] for row in brief] == [
        "Internal test", "– of it, a copy was seen", "– of it, only the patient was seen", "– of it, neither was seen",
        "– of it, no copy seen, patient unknown", "External test, other_scanner",
        "Internal test, best baseline: nearest training scan by its pixels",
    ]  # fmt: skip
    assert brief[1].endswith("|82.9 %|77.9 % to 87.9 %|70")
    assert brief[2].endswith("|not defined|fewer than 30 distinct scans|29")
    assert not [row for row in rows(example(patients="none")) if row.startswith("– of it")], "there is one kind"


def test_tables_of_exposure_and_columns_have_a_row_for_each_kind_and_a_column_for_each_class():
    found = rows(example(leaks="keep"))
    assert "Seen|all classes|glioma|notumor" in found
    copies, patients = (
        next(row for row in found if row.startswith(f"{kind} was seen|")) for kind in ("a copy", "only the patient")
    )
    assert copies.split("|")[1:4] == ["82.9 %", "77.9 %–87.9 %", "70 scans, 35 units"]
    assert patients.endswith("|–|29 scans, 14 units|–"), "none in the last class"
    assert "mode: RGB" + 3 * "|50.0 %|45.0 %–55.0 %|40 scans, 20 units" in found


def test_tables_of_patients_of_tumours_and_of_other_data_sets():
    found = rows(example())
    assert "glioma|34|30|20|16|0|64" in found
    assert "95.0 %|0.400|94.0 %|89.0 %–99.0 %|71.0 %|66.0 %–76.0 %" in found
    assert "98.0 %|10.0 %|50.0 %|45.0 %–55.0 %|99.9 %|94.9 %–100.0 %" in found
    assert "Left out: copies of development scans|9" in found
    assert "Points above the internal test set (92.5 %)|−22.5" in found
    assert "Called a class that the set lacks|11.0 %" in found
    assert "Sensitivity: glioma|70.0 % of 90|65.0 %–75.0 %" in found
    assert "Sensitivity: notumor|–" in found
    assert "Tumours, threshold set for 95.0 %: sensitivity|94.0 %|89.0 %–99.0 %" in found
    text = shown(example(negative=None, patients="none"))
    assert "Threshold" not in text
    assert "Files without patient" not in text


def test_intervals_that_cover_too_little_are_marked_where_they_are_shown_and_explained_below():
    text = shown(example())
    assert "0.920 to 1.000†" in text
    assert "0.920–1.000†" in text
    note = "† Too narrow: it held the true value in 90.5 % of simulations of such a case, not in 95 %."
    assert text.count(note) == 2, "under the table of all and under that of classes"
    run = example()
    held = [record | {"covers": None} for record in run.intervals["intervals"]]
    assert "†" not in shown(replace(run, intervals=run.intervals | {"intervals": held}))


def test_patients_that_the_model_knows_are_named_beside_the_headline():
    text = shown(example())
    assert (
        text.index("<strong>")
        < text.index("for 64 of 160 test scans the model has seen other scans")
        < text.index("<h2 ")
    )
    assert "Known patients" not in shown(example(protocol="patients"))
    assert "Unit of the interval: patient, or group of copies where none is known, 100 in the test set" in text


def test_every_paragraph_of_the_statement_stands_in_a_section():
    placed = {heading for headings in SECTIONS.values() for heading in headings}
    for run in degenerate().values():
        assert set(statement(run)) <= placed
    assert {name for names in FIGURES.values() for name in names} == set(CAPTIONS) == set(alternatives(example()))


def test_a_model_that_is_not_shown_to_beat_a_baseline_is_said_to_be_so_beside_the_headline():
    run = example()
    assert "Not shown to be better" not in shown(run)
    close = [row | {"difference_low": -0.01} for row in run.baselines["baselines"]]
    text = shown(replace(run, baselines={"baselines": close}))
    said = "Not shown to be better than the nearest training scan by its pixels, which needs no fine-tuning and reaches"
    assert text.index(said) < text.index("<h2 ")


def test_headings_come_in_order_and_every_entry_of_the_contents_leads_to_one():
    text = shown(example())
    levels = [int(level) for level in re.findall(r"<h([1-6])", text)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    links = re.findall(r'href="#([^"]*)"', text)
    assert set(links) <= set(re.findall(r' id="([^"]*)"', text))
    assert len(links) == len(set(links)) == 1 + 4 + len(SECTIONS) - 1


def test_what_may_differ_between_two_drawings_stands_in_one_section():
    run = example()
    changes = {"time": "2027-01-01 00:00 UTC", "commit": None, "training": TIMING | {"seconds": 7.0}}
    first, second = made(run), made(run, **changes)
    assert first != second
    assert without_drawing(first) == without_drawing(second)


def test_the_drawing_names_commit_and_what_was_changed_on_top():
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


def test_the_page_says_what_data_and_checkpoint_it_rests_on_and_fills_the_checklist():
    text = shown(example())
    assert "SHA-256 of data/scans/scans.csv: 5ca45" in text
    assert "torch 2.0, transformers 5.0" in text
    assert "This run fills 32" in text and "not a claim that a study complies" in text
    assert text.count('<tr class="open">') == 12


def test_every_picture_says_what_it_shows():
    text = made(example(leaks="keep"), dict.fromkeys(CAPTIONS, png())).replace("\N{NO-BREAK SPACE}", " ")
    said = re.findall(r'alt="([^"]*)"', text)
    assert len(said) == len(CAPTIONS) == len(set(said))
    assert all(len(words) > 40 for words in said)
    assert "glioma: 74 as glioma, 6 as notumor" in text


def test_the_table_of_explanations_has_a_row_for_each_kind_of_tumour():
    run = replace(example(), explain=explained(NAMES))
    found = rows(run)
    pointing, energy = "80.0 %|75.0 %–85.0 %|50.0 %|45.0 %–55.0 %", "40.0 %|35.0 %–45.0 %|5.0 %|0.0 %–10.0 %"
    assert f"all|60 scans, 20 units|{pointing}|{energy}" in found
    assert [row.split("|")[0] for row in found if "60 scans, 20 units" in row] == [
        "all", "glioma", "small ones", "answer is wrong",
    ]  # fmt: skip
    without = shown(replace(run, explain=explained([], masks=False)))
    assert "60 scans, 20 units" not in without and "No masks of the tumours are known" in without
