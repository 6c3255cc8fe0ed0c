"""Runs of the pipeline's stages outside DVC, to train many models on the same scans.

A run is a folder below .cache with a params.yaml of its own and links to what other runs have made already. A stage
that has finished in a folder is not run again; delete the folder to start afresh.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML

from trueslice.records.train import Training

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache"
JOBS = 2  # trainings side by side, one thread each
SCORING = ("predict", "baselines", "external", "explain", "evaluate")  # stages, in their order
COLLAPSED = 0.5  # validation accuracy


def prepare(folder: Path, settings: Mapping[str, object], links: Mapping[str, Path] | None = None) -> None:
    """Write params.yaml with `settings` by dotted name into `folder`, and link to what exists already."""
    folder.mkdir(parents=True, exist_ok=True)
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    for key, value in settings.items():
        *sections, name = key.split(".")
        section = params
        for each in sections:
            section = section[each]
        section[name] = value
    yaml.dump(params, folder / "params.yaml")
    for name, target in (links or {}).items():
        if not (folder / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(target)


def run(stage: str, folder: Path) -> None:
    """Run a stage in `folder`, unless it did before."""
    done = folder / f".{stage}"
    if done.exists():
        return
    threads = {"OMP_NUM_THREADS": "1"} if stage in ("train", "predict", "baselines") else {}
    print(f"{folder.relative_to(CACHE)}: {stage}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"stages.{stage}"]
    environment = os.environ | threads | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr, check=True)
    done.touch()


def train(folder: Path, settings: Mapping[str, object], scans: Path) -> None:
    """Build the checkpoint, divide the scans and train, with `seed` among the settings.

    A training that gets fewer than half of its own validation scans right has collapsed. It is done again beside
    `folder`, with the seed 100 higher. No test scan is looked at for that.
    """
    for place, seed in ((folder, settings["seed"]), (again(folder), settings["seed"] + 100)):
        prepare(place, {**settings, "seed": seed}, {"data/scans": scans / "data/scans"})
        for stage in ("checkpoint", "split", "train"):
            run(stage, place)
        if validation(place) >= COLLAPSED:
            return
    raise RuntimeError(f"{folder} collapsed twice")


def score(folder: Path) -> None:
    """Test the model that was trained in `folder`, where data/raw and data/scans are, as the pipeline does."""
    for stage in SCORING:
        run(stage, folder)


def again(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-again")


def counted(folder: Path) -> Path:
    """The folder of the training that counts: the second one, where the first collapsed."""
    return again(folder) if again(folder).exists() else folder


def validation(folder: Path) -> float:
    """Validation accuracy of the epoch that was kept."""
    return Training.read(folder / "metrics/train.json").val_accuracy


def prepare_scans(archive: Path) -> Path:
    """Decode and audit the scans of `archive` once, for all benchmarks: a folder with data/scans."""
    folder = CACHE / "scans"
    prepare(folder, {"data.source": str(archive.resolve())})
    for stage in ("download", "verify"):
        run(stage, folder)
    return folder


def archive_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of a command whose first argument is the archive of scans."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="folder or .zip with Training/ and Testing/")
    return parser
