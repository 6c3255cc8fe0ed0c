"""The stage `explain` on a few phantoms."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import stages
from stages import explain
from trueslice import params
from trueslice.errors import UserError
from trueslice.explain import pointing
from trueslice.explain.maps import SIDE
from trueslice.tables.examples import Examples
from trueslice.tables.explanations import Explanations
from trueslice.tables.splits import Splits


@pytest.fixture(autouse=True)
def folder(released: Path, tmp_path: Path, monkeypatch) -> None:
    """A copy of a finished run, with 10 test scans of each class, in which a test runs the stage again."""
    monkeypatch.chdir(shutil.copytree(released, tmp_path / "run"))
    monkeypatch.delenv("DVC_ROOT", raising=False)


def run(masks: str | None) -> None:
    settings = params.load(Path("params.yaml"))
    explain.main(settings.model_copy(update={"explain": settings.explain.model_copy(update={"masks": masks})}))


def test_maps_scores_and_examples_are_written(capsys):
    run("auto")
    maps, table = np.load(stages.MAPS), Explanations.read(stages.EXPLANATIONS)
    assert maps.shape == (40, 2, SIDE, SIDE) and maps.dtype == np.uint8
    assert (maps[:, 0].max(axis=(1, 2)) > 200).all()
    assert set(table.class_name) == {"glioma", "meningioma", "pituitary"} and len(table) == 30
    has_mask = maps[:, 1].any(axis=(1, 2))
    assert has_mask.sum() == 30 and np.isin(maps[:, 1], (0, 255)).all()
    assert table.energy == pytest.approx(pointing.energies(maps[has_mask, 0] / 255, maps[has_mask, 1] > 0), abs=0.01)
    assert (table.ceiling_energy >= table.energy).all()
    assert "40 test scans, 30 of them with a mask" in capsys.readouterr().out
    examples, splits = Examples.read(stages.EXAMPLES), Splits.read(stages.SPLITS)
    assert set(examples.kind) == {"mistake", "hit", "example"}
    assert (splits.split[examples.scan] == "test").all() and (splits.split[examples.nearest_1] == "train").all()
    mistakes = examples.take(examples.kind == "mistake")
    assert (mistakes.class_name != mistakes.predicted).all() and (np.diff(mistakes.probability) <= 0).all()


def test_masks_of_a_folder_are_the_same_and_none_measure_nothing(tmp_path: Path):
    run("auto")
    before = stages.EXPLANATIONS.read_bytes()
    shutil.copytree(stages.RAW / "masks", tmp_path / "elsewhere")
    run(str(tmp_path / "elsewhere"))
    assert stages.EXPLANATIONS.read_bytes() == before
    shutil.rmtree(stages.FINETUNED)  # minutes of maps that nothing could be measured with
    run(None)
    assert len(Explanations.read(stages.EXPLANATIONS)) == 0 and not np.load(stages.MAPS)[:, 1].any()


def test_a_folder_that_is_none_and_a_damaged_mask_end_in_one_line(tmp_path: Path):
    with pytest.raises(UserError, match=r"missing is not a folder of masks; set explain.masks"):
        run(str(tmp_path / "missing"))
    next((stages.RAW / "masks").rglob("*.png")).write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"cannot be read: .* write it again, or remove it"):
        run("auto")


def test_the_order_of_the_weights_is_changed_and_nothing_else(tiny_folder):
    from trueslice.explain.maps import in_random_order
    from trueslice.model.encoder import Encoder

    one, other = (Encoder.load(tiny_folder, "cpu") for _ in range(2))
    in_random_order(other)
    for (name, before), after in zip(one.model.named_parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(before.flatten().sort().values, after.flatten().sort().values)
        assert name.startswith("vision_model") or (before == after).all()
    assert one.hash() != other.hash()
