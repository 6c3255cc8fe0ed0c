"""Draw the figures of the run and write its report.

data/scans, metrics/*.json, models/finetuned/trueslice.json, plots/steps.csv, plots/embedding.csv,
plots/predictions.csv
-> plots/figures, plots/report.html
"""

import hashlib
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import stages
from trueslice.files import read_json, whole_file, whole_folder
from trueslice.params import Params
from trueslice.report import explanations, figures
from trueslice.report.page import page
from trueslice.report.provenance import Drawing
from trueslice.report.run import Run
from trueslice.tables.embedding import EmbeddingMap
from trueslice.tables.examples import Examples
from trueslice.tables.steps import Steps


def main(params: Params) -> None:
    run = Run.read(stages.METRICS, stages.FINETUNED, params.model_dump(mode="json", include=stages.REPORTED))
    tables = figures.Tables(
        Steps.read(stages.PLOTS / "steps.csv"),
        EmbeddingMap.read(stages.PLOTS / "embedding.csv"),
    )
    pixels = np.load(stages.SCANS / "pixels.npy", mmap_mode="r")
    scans_sha256 = hashlib.sha256((stages.SCANS / "scans.csv").read_bytes()).hexdigest()
    drawing = Drawing.now(Path.cwd(), read_json(stages.METRICS / "timing.json")["train"])
    pictures = {}
    with whole_folder(stages.PLOTS / "figures") as folder:
        for name, figure in (figures.draw(run, tables, pixels) | _explained(run, pixels)).items():
            figures.save(figure, folder / f"{name}.png")
            pictures[name] = (folder / f"{name}.png").read_bytes()
    report = stages.PLOTS / "report.html"
    with whole_file(report) as beside:
        beside.write_text(page(run, pictures, scans_sha256, drawing), encoding="utf-8")
    print(f"plot: {len(pictures)} figures in {stages.PLOTS / 'figures'}, {report}")


def _explained(run: Run, pixels: np.ndarray) -> dict[str, Figure]:
    examples, maps = Examples.read(stages.EXAMPLES), np.load(stages.MAPS, mmap_mode="r")
    return explanations.draw(run.explain, examples, maps, pixels)


if __name__ == "__main__":
    stages.run(main)
