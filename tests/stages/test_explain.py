"""The stage `explain` on a few phantoms."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import stages
from stages import explain
from tests.scan_tables import split_table
from trueslice import params
from trueslice.errors import UserError
from trueslice.explain import pointing
from trueslice.explain.maps import SIDE
from trueslice.reading.scans import find
from trueslice.reading.square import fit
from trueslice.sources import phantom
from trueslice.tables.examples import Examples
from trueslice.tables.explanations import Explanations
from trueslice.tables.predictions import ModelPredictions
from trueslice.tables.splits import Splits

PARAMS = params.load(Path(__file__).parents[2] / "params.yaml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_folder) -> Path:
    """A folder with all that the stage reads: eight training and four test scans of each class, and a model."""
    folder = tmp_path_factory.mktemp("explain")
    phantom.draw(folder / stages.RAW, seed=1, train_per_class=8, test_per_class=4, workers=1)
    files = find(folder / stages.RAW)
    (folder / stages.SCANS).mkdir(parents=True)
    pixels = [fit(Image.open(folder / stages.RAW / file.path), 64) for file in files]
    np.save(folder / stages.SCANS / "pixels.npy", np.stack(pixels))
    class_names, official, paths = (
        np.array([getattr(file, name) for file in files]) for name in ("class_name", "official_split", "path")
    )
    splits = split_table(class_names, official, path=paths)
    splits.write(folder / stages.SPLITS)
    shutil.copytree(tiny_folder, folder / stages.FINETUNED)
    np.save(folder / stages.FEATURES, np.random.default_rng(0).random((len(files), 8), np.float32))
    count = int((splits.split == "test").sum())
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), count)
    ModelPredictions(
        **splits.columns_of("test", PARAMS.class_names),
        y_pred=probabilities.argmax(axis=1),
        probabilities=probabilities,
        logits=np.log(probabilities),
        upside_down=probabilities.argmax(axis=1),
        similarity=np.zeros(count),
        distance=np.zeros(count),
    ).write(folder / stages.PLOTS / "predictions.csv")
    return folder


def run(folder: Path, monkeypatch, masks: str | None) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    explain.main(PARAMS.model_copy(update={"explain": PARAMS.explain.model_copy(update={"masks": masks})}))


def test_maps_scores_and_examples_are_written(finished: Path, monkeypatch, capsys):
    run(finished, monkeypatch, "auto")
    maps, table = np.load(stages.MAPS), Explanations.read(stages.EXPLANATIONS)
    assert maps.shape == (16, 2, SIDE, SIDE) and maps.dtype == np.uint8
    assert (maps[:, 0].max(axis=(1, 2)) > 200).all()
    assert set(table.class_name) == {"glioma", "meningioma", "pituitary"} and len(table) == 12
    has_mask = maps[:, 1].any(axis=(1, 2))
    assert has_mask.sum() == 12 and np.isin(maps[:, 1], (0, 255)).all()
    assert table.energy == pytest.approx(pointing.energies(maps[has_mask, 0] / 255, maps[has_mask, 1] > 0), abs=0.01)
    assert (table.ceiling_energy >= table.energy).all()
    assert "16 test scans, 12 of them with a mask" in capsys.readouterr().out
    examples, splits = Examples.read(stages.EXAMPLES), Splits.read(stages.SPLITS)
    assert set(examples.kind) == {"mistake", "hit", "example"}
    assert (splits.split[examples.scan] == "test").all() and (splits.split[examples.nearest_1] == "train").all()
    mistakes = examples.take(examples.kind == "mistake")
    assert (mistakes.class_name != mistakes.predicted).all() and (np.diff(mistakes.probability) <= 0).all()


def test_masks_of_a_folder_are_the_same_and_none_measure_nothing(finished: Path, tmp_path: Path, monkeypatch):
    run(finished, monkeypatch, "auto")
    before = stages.EXPLANATIONS.read_bytes()
    shutil.copytree(finished / stages.RAW / "masks", tmp_path / "elsewhere")
    run(finished, monkeypatch, str(tmp_path / "elsewhere"))
    assert stages.EXPLANATIONS.read_bytes() == before
    run(finished, monkeypatch, None)
    assert len(Explanations.read(stages.EXPLANATIONS)) == 0 and not np.load(stages.MAPS)[:, 1].any()


def test_a_folder_that_is_none_and_a_damaged_mask_end_in_one_line(finished: Path, tmp_path: Path, monkeypatch):
    with pytest.raises(UserError, match=r"missing is not a folder of masks; set explain.masks"):
        run(finished, monkeypatch, str(tmp_path / "missing"))
    shutil.copytree(finished / stages.RAW / "masks", tmp_path / "masks")
    next((tmp_path / "masks").rglob("*.png")).write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"cannot be read .* write it again, or remove it"):
        run(finished, monkeypatch, str(tmp_path / "masks"))


def test_the_order_of_the_weights_is_changed_and_nothing_else(tiny_folder):
    from trueslice.explain.maps import in_random_order
    from trueslice.model.encoder import Encoder

    one, other = (Encoder.load(tiny_folder, "cpu") for _ in range(2))
    in_random_order(other)
    for (name, before), after in zip(one.model.named_parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(before.flatten().sort().values, after.flatten().sort().values)
        assert name.startswith("vision_model") or (before == after).all()
    assert one.hash() != other.hash()
