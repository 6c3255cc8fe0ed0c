"""Draw the figures of the run and write its report."""

import hashlib
from pathlib import Path

import numpy as np

import stages
from trueslice.files import whole_file, whole_folder
from trueslice.params import Params
from trueslice.records.timing import Timing
from trueslice.report import explanations, figures
from trueslice.report.page import page
from trueslice.report.provenance import Drawing
from trueslice.report.run import Run
from trueslice.tables.embedding import EmbeddingMap
from trueslice.tables.examples import Examples
from trueslice.tables.steps import Steps


def main(params: Params) -> None:
    run = Run.read(stages.METRICS, stages.FINETUNED, params)
    steps, embedding = Steps.read(stages.PLOTS / "steps.csv"), EmbeddingMap.read(stages.PLOTS / "embedding.csv")
    pixels = np.load(stages.SCANS / "pixels.npy", mmap_mode="r")
    examples, maps = Examples.read(stages.EXAMPLES), np.load(stages.MAPS, mmap_mode="r")
    scans_sha256 = hashlib.sha256((stages.SCANS / "scans.csv").read_bytes()).hexdigest()
    drawing = Drawing.now(Path.cwd(), Timing.read(stages.METRICS / "timing.json").train[0])
    drawn = figures.draw(run, figures.Tables(steps, embedding), pixels)
    drawn |= explanations.draw(run.explain, examples, maps, pixels)
    pictures = {name: figures.png(figure) for name, figure in drawn.items()}
    with whole_folder(stages.PLOTS / "figures") as folder:
        for name, picture in pictures.items():
            (folder / f"{name}.png").write_bytes(picture)
    report = stages.PLOTS / "report.html"
    with whole_file(report) as beside:
        beside.write_text(page(run, pictures, scans_sha256, drawing), encoding="utf-8")
    print(f"plot: {len(pictures)} figures in {stages.PLOTS / 'figures'}, {report}")


if __name__ == "__main__":
    stages.run(main)
