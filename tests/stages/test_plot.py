"""The stage as DVC runs it: a process in a repository, files in, figures out."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.report.example_run import without_drawing
from tests.stages.running import ROOT, run
from trueslice.records.test import ModelScores
from trueslice.report.format import percent


@pytest.fixture
def folder(released, tmp_path) -> Path:
    """A copy of a run that has come to its last stage."""
    return shutil.copytree(released, tmp_path / "run")


@pytest.mark.slow
def test_it_draws_its_figures_and_the_same_bytes_again(folder):
    (folder / "plots/figures").mkdir()
    (folder / "plots/figures/of_an_older_run.png").write_bytes(b"")
    drawn = []
    for _ in range(2):
        done = run("plot", folder)
        assert (done.returncode, done.stderr) == (0, "")
        files = {path.name: path.read_bytes() for path in (folder / "plots/figures").iterdir()}
        page = (folder / "plots/report.html").read_text()
        assert done.stdout == f"plot: {len(files)} figures in plots/figures, plots/report.html\n"
        assert len(files) > 10 and "of_an_older_run.png" not in files and "outside a Git repository" in page
        assert page.count('<img src="data:image/webp;base64,') == len(files)
        drawn.append((files, without_drawing(page)))
    assert drawn[0] == drawn[1]
    for name in files:
        with Image.open(folder / "plots/figures" / name) as image:
            image.verify()
    accuracy = percent(ModelScores.read(folder / "metrics/test.json").accuracy).replace(" ", "\N{NO-BREAK SPACE}")
    assert f"<strong>{accuracy}</strong>" in page and "The scans are phantoms" in page


def test_a_missing_metric_ends_in_one_line(folder):
    (folder / "metrics/test.json").unlink()
    done = run("plot", folder)
    assert done.returncode == 1
    assert done.stderr.startswith("error: metrics/test.json is missing")
    assert done.stderr.count("\n") == 1
    assert not (folder / "plots/figures").exists()


def test_it_needs_no_model_and_no_scores_of_its_own():
    code = (
        "import sys, stages.plot; "
        "heavy = {'torch', 'transformers', 'sklearn', 'scipy', 'trueslice.evaluate', 'trueslice.explain'}; "
        "loaded = heavy & set(sys.modules); "
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
