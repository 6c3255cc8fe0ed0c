"""The stage as DVC runs it: a process in a repository, files in, figures out."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.report.example_run import (
    TIMING,
    example,
    examples,
    maps,
    pixels,
    tables,
    without_drawing,
)
from tests.stages.running import ROOT, run
from trueslice.files import write_json
from trueslice.records.timing import Timing
from trueslice.report.run import Run
from trueslice.report.templates import passages

FIGURES = {f"{name}.png" for name in passages("alt.jinja", example())}


def written(folder: Path, run: Run) -> Path:
    """The folder with the inputs of the stage."""
    shutil.copy(ROOT / "params.yaml", folder)
    for name in Run.records():
        getattr(run, name).write(folder / f"metrics/{name}.json")
    Timing(train=[TIMING]).write(folder / "metrics/timing.json")
    write_json(folder / "models/finetuned/trueslice.json", run.model)
    drawn_from = tables(len(run.train.epochs))
    for name, table in zip(("steps", "embedding"), drawn_from, strict=True):
        table.write(folder / f"plots/{name}.csv")
    (folder / "data/scans").mkdir(parents=True, exist_ok=True)
    (folder / "data/scans/scans.csv").write_text("its hash is the version of the data")
    examples().write(folder / "data/examples.csv")
    np.save(folder / "data/explanations.npy", maps())
    np.save(folder / "data/scans/pixels.npy", pixels(16))
    return folder


@pytest.mark.slow
def test_it_draws_its_figures_and_the_same_bytes_again(tmp_path):
    written(tmp_path, example())
    folder = tmp_path / "plots/figures"
    folder.mkdir()
    (folder / "of_an_older_run.png").write_bytes(b"")
    first = run("plot", tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == "plot: 18 figures in plots/figures, plots/report.html\n"
    assert {path.name for path in folder.iterdir()} == FIGURES
    drawn = {name: (folder / name).read_bytes() for name in FIGURES}
    page = (tmp_path / "plots/report.html").read_text()
    assert "outside a Git repository" in page
    assert len(set(drawn.values())) == 18
    for name in FIGURES:
        with Image.open(folder / name) as image:
            image.verify()
    assert run("plot", tmp_path).returncode == 0
    assert {name: (folder / name).read_bytes() for name in FIGURES} == drawn
    again = (tmp_path / "plots/report.html").read_text()
    assert without_drawing(again) == without_drawing(page)


def test_the_report_shows_the_runs_numbers_and_links_every_figure(tmp_path):
    written(tmp_path, example(leaks="keep"))
    assert run("plot", tmp_path).returncode == 0
    page = (tmp_path / "plots/report.html").read_text()
    assert page.count('<img src="data:image/webp;base64,') == len(FIGURES)
    assert "<strong>92.5\N{NO-BREAK SPACE}%</strong>" in page
    assert "one temperature, 1.23," in page
    assert "The scans are phantoms" in page, "as params.yaml says"


def test_a_missing_metric_ends_in_one_line(tmp_path):
    written(tmp_path, example())
    (tmp_path / "metrics/test.json").unlink()
    done = run("plot", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: metrics/test.json is missing")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "plots/figures").exists()


def test_it_needs_no_model_and_no_scores_of_its_own():
    code = (
        "import sys, stages.plot; "
        "heavy = {'torch', 'transformers', 'sklearn', 'scipy', 'trueslice.evaluate', 'trueslice.explain'}; "
        "loaded = heavy & set(sys.modules); "
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
