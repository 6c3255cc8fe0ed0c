"""Draw the figures of the run and write its report.

data/scans/pixels.npy, metrics/*.json, plots/steps.csv -> plots/figures, plots/report.html
"""

import numpy as np

import stages
from tumorclip.files import whole_file, whole_folder
from tumorclip.params import Params
from tumorclip.report import figures
from tumorclip.report.page import page
from tumorclip.report.run import Run
from tumorclip.tables import Steps


def main(params: Params) -> None:
    run = Run.read(stages.METRICS, stages.FINETUNED, params.model_dump(mode="json", include=stages.REPORTED))
    steps = Steps.read(stages.PLOTS / "steps.csv")
    drawn = figures.draw(run, steps, np.load(stages.SCANS / "pixels.npy", mmap_mode="r"))
    with whole_folder(stages.PLOTS / "figures") as folder:
        for name, figure in drawn.items():
            figures.save(figure, folder / f"{name}.png")
    report = stages.PLOTS / "report.html"
    with whole_file(report) as beside:
        beside.write_text(page(run, {name: f"figures/{name}.png" for name in drawn}), encoding="utf-8")
    print(f"plot: {len(drawn)} figures in {stages.PLOTS / 'figures'}, {report}")


if __name__ == "__main__":
    stages.run(main)
