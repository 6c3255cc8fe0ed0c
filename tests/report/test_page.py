"""What the page shows, and that it stands alone."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from report.example_run import degenerate, example

from tumorclip.report.page import CAPTIONS, page
from tumorclip.report.text import Run


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


def shown(run: Run) -> str:
    """The page without figures, with spaces as they are typed."""
    return page(run, {}).replace("\N{NO-BREAK SPACE}", " ")


def rows(run: Run) -> list[str]:
    """The rows of all tables, cells divided by bars."""
    found = re.findall(r"<tr>(.*?)</tr>", shown(run), flags=re.DOTALL)
    return [re.sub(r"\s*(<[^>]+>\s*)+", "|", row).strip("|") for row in found]


@pytest.mark.parametrize("name", degenerate())
def test_the_page_is_well_formed_and_loads_only_its_figures(name):
    links = {figure: f"figures/{figure}.png" for figure in CAPTIONS}
    text = page(degenerate()[name], links)
    assert text.startswith("<!DOCTYPE html>\n")
    assert text.endswith("</html>\n")
    parsed = Page(text)
    assert not parsed.open
    assert parsed.pictures == parsed.links == list(links.values())
    assert not {"script", "link", "iframe", "b"} & set(parsed.tags)
    assert "url(" not in text
    assert "None" not in text
    assert Page(page(example(), {"reliability": "r.png"})).pictures == ["r.png"]


@pytest.mark.parametrize("names", [["<b>glioma & co</b>", '"no" $tumour'], ["total", "classes", "mean_over_classes"]])
def test_a_class_may_be_called_anything(names):
    run = example(names=names, negative=names[-1], leaks="keep")
    words = Page(page(run, {})).words
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
    assert "160 test files, 160 distinct scans;\nofficial test set, leaks: drop_train" in text
    assert "accuracy on drawn scans held out" in shown(example(source="phantom"))
    assert "blocked split, an approximation" in shown(example(protocol="blocked"))


def test_a_percent_sign_never_stands_alone_at_the_start_of_a_line():
    assert " %" not in page(example(), {})


def test_inflated_scores_are_marked_beside_the_headline():
    assert "Inflated" not in shown(example())
    text = shown(example(leaks="keep"))
    assert text.index("<strong>") < text.index("Inflated") < text.index("<h2>")


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
    assert "this model|92.5 %|87.5 % to 97.5 %|92.5 %|0.925" in found
    assert "histogram of grey values alone|30.0 %|25.0 % to 35.0 %|30.0 %|0.300" in found
    assert "Expected calibration error (ECE)|0.031|0.024 by chance if perfectly calibrated" in found
    assert f"glioma|{train}|{run.split['classes'][0]['val']}|80|35|35" in found
    assert f"all|{2 * train}|{run.split['val']}|160|70|70" in found
    assert any(row.startswith("glioma|80|80|92.5 %|87.5 %–97.5 %|") for row in found)
    settings = {row.split("|")[0] for row in found}
    assert {"split.leaks", "data.source", "train.seed", "data.kaggle.dataset"} <= settings
    assert not {"train.device", "verify.device", "data.phantom.seed"} & settings
