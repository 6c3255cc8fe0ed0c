"""What `dvc plots show` draws with this repository's dvc.yaml and templates, and that it needs no network."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import vl_convert
from PIL import Image

from tests.browsers import watched
from tests.made import labels, model_table, one_hot
from tests.report.example_run import TIMING, embedding
from trueslice.evaluate.score import evaluate
from trueslice.files import read_json, write_json
from trueslice.params import Evaluate
from trueslice.records.timing import Timing

ROOT = Path(__file__).parents[1]
# The charts of a page of which nothing is drawn.
BLANK = """() => [...document.querySelectorAll(".vega-embed canvas")].filter((canvas) => {
  const bytes = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(bytes.buffer)).size < 3;
}).length ? ["blank"] : []"""
CLASSES = ["glioma", "meningioma", "notumor", "pituitary"]
CONFUSION = np.array([[20, 3, 0, 1], [2, 21, 0, 4], [5, 0, 25, 0], [0, 6, 0, 22]])


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A DVC repository without Git that holds this project's dvc.yaml and templates, and results made up here."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    ignored = shutil.ignore_patterns("offline.html", "offline.partial")
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots", ignore=ignored)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, folder)

    columns = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate")
    epochs = [
        dict(zip(columns, row, strict=True)) for row in ((1, 1.2, 0.4, 1.3, 0.3, 0.1), (2, 0.8, 0.7, 0.9, 0.6, 0))
    ]
    write_json(folder / "metrics/train.json", {"best_epoch": 2, "epochs": epochs})
    Timing(train=[TIMING]).write(folder / "metrics/timing.json")
    y_true, y_pred = labels(CONFUSION)
    predictions = model_table(y_true, one_hot(y_pred, 4), class_names=CLASSES)
    predictions.write(folder / "plots/predictions.csv")
    settings = Evaluate(negative_class="notumor", by=[], sensitivities=[0.9], prevalences=[0.1], max_error=None)
    test, intervals = evaluate(predictions, predictions, {}, settings)
    test.write(folder / "metrics/test.json")
    intervals.write(folder / "metrics/intervals.json")
    steps = [f"{step},{1.4 / step},{1.5 / step},0.1" for step in range(1, 9)]
    (folder / "plots/steps.csv").write_text("\n".join(["step,loss,mean_loss,learning_rate", *steps]) + "\n")
    embedding(CLASSES).write(folder / "plots/embedding.csv")
    (folder / "plots/figures").mkdir()
    Image.new("L", (1600, 4)).save(folder / "plots/figures/training_loss.png")
    return folder


def dvc(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def charts(repository):
    """Vega-Lite specification of every chart, by its title; None for a picture."""
    shown = json.loads(dvc(repository, "plots", "show", "--json"))
    assert "errors" not in shown
    return {
        plot["content"]["title"]["text"] if plot["type"] == "vega" else name: plot.get("content")
        for name, plots in shown["data"].items()
        for plot in plots
    }


def texts(chart: dict) -> list[str]:
    """All letters and numbers of a chart as Vega draws it."""
    svg = vl_convert.vegalite_to_svg(chart, vl_version="5.21")
    return [unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


def test_every_result_is_drawn_once(charts, repository):
    shown = json.loads(dvc(repository, "plots", "show", "--json"))["data"]
    assert sum(len(plots) for plots in shown.values()) == len(charts)
    assert set(charts) == {
        "Loss per epoch",
        "Accuracy per epoch",
        "Learning rate per epoch",
        "Test scores per class",
        "Training loss per step",
        "Seconds of training",
        "Scans in the space of the model",
        "Test scans by actual and predicted class",
        "plots/figures/training_loss.png",
    }


def test_the_confusion_matrix_shows_every_count_also_the_zeros(charts):
    drawn = Counter(text for text in texts(charts["Test scans by actual and predicted class"]) if text.isdigit())
    assert drawn == Counter(map(str, CONFUSION.ravel()))


def test_the_bars_show_recall_precision_and_f1_of_every_class(charts, repository):
    chart = charts["Test scores per class"]
    rows = read_json(repository / "metrics/test.json")["classes"]
    scores = [f"{row[key]:.1%}" for key in ("recall", "precision", "f1") for row in rows]
    drawn = texts(chart)
    assert Counter(text for text in drawn if re.fullmatch(r"\d+\.\d%", text)) == Counter(scores)
    assert {"0%", "100%", *CLASSES, "recall", "precision", "f1"} <= set(drawn), "the bars start at 0 and end at 1"


@pytest.mark.parametrize("kind", ["Loss", "Accuracy"])
def test_epochs_show_train_and_validation(charts, kind):
    chart = charts[f"{kind} per epoch"]
    field = chart["encoding"]["y"]["field"]
    drawn = {(point["field"], point["epoch"]): point[field] for point in chart["data"]["values"]}
    expected = {"Loss": [1.2, 0.8, 1.3, 0.9], "Accuracy": [0.4, 0.7, 0.3, 0.6]}[kind]
    names = [f"train_{kind.lower()}", f"val_{kind.lower()}"]
    assert drawn == dict(zip([(name, epoch) for name in names for epoch in (1, 2)], expected, strict=True))
    assert {"epoch", "1", "2", *names} <= set(texts(chart))
    assert "1.5" not in texts(chart), "there is no half epoch"


def test_the_map_has_a_point_for_every_scan(charts):
    chart = charts["Scans in the space of the model"]
    assert len(chart["data"]["values"]) == 12 * len(CLASSES)
    assert chart["facet"]["column"]["field"] == "rev", "the maps of two runs are side by side"
    assert {"first component", "second component", *CLASSES} <= set(texts(chart))


def test_the_page_needs_no_network(repository):
    subprocess.run([sys.executable, ".dvc/plots/offline.py"], cwd=repository, check=True)
    dvc(repository, "plots", "show")
    page = (repository / "dvc_plots/index.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["'](https?:)?//""", page)
    for name in ("vega", "vegaLite", "vegaEmbed"):
        assert f"window.{name}=" in page, "Vega itself is in the page"
    assert page.count("vegaEmbed('#") == 8
    assert page.count("</script>") == page.count("<script"), "nothing within Vega ends its script early"


@pytest.fixture(scope="module")
def compared(repository, tmp_path_factory) -> Path:
    """The page of `dvc plots diff` after another epoch, in a repository with Git."""
    folder = tmp_path_factory.mktemp("compared") / "repository"
    shutil.copytree(repository, folder)
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (folder / ".dvc/config.local").unlink(missing_ok=True)
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "first")):
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)
    subprocess.run([sys.executable, ".dvc/plots/offline.py"], cwd=folder, check=True)
    train = read_json(folder / "metrics/train.json")
    last = train["epochs"][-1] | {"epoch": 3, "val_loss": 0.7}
    write_json(folder / "metrics/train.json", train | {"epochs": [*train["epochs"], last]})
    dvc(folder, "plots", "diff", "HEAD")
    return folder / "dvc_plots/index.html"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["show", "diff"])
def test_a_browser_draws_every_chart_and_asks_for_nothing(command, request, browser):
    if command == "diff":
        page, pictures = request.getfixturevalue("compared"), 2
    else:
        repository = request.getfixturevalue("repository")
        subprocess.run([sys.executable, ".dvc/plots/offline.py"], cwd=repository, check=True)
        dvc(repository, "plots", "show")
        page, pictures = repository / "dvc_plots/index.html", 1
    tab = watched(browser)
    tab.goto(page.as_uri())
    tab.wait_for_function("document.querySelectorAll('.vega-embed :is(canvas, svg.marks)').length == 8")
    assert tab.evaluate(BLANK) == []
    assert tab.evaluate("[...document.images].map((each) => each.naturalWidth)") == [1600] * pictures
    rights = "[...document.images].map((each) => each.getBoundingClientRect().right)"
    assert tab.evaluate(f"Math.max(...{rights}) <= innerWidth"), "no picture is beside the window"
    if command == "diff":
        assert "HEAD" in tab.content() and "workspace" in tab.content()
    assert tab.said == []
    assert not [url for url in tab.asked if not url.startswith(("file:", "data:", "blob:"))]
