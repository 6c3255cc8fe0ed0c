import json
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tests.train.training import CONFIG, scans, trainer, tuned
from trueslice.model.encoder import Encoder
from trueslice.model.pixels import Pixels
from trueslice.params import Train
from trueslice.tables.splits import Splits
from trueslice.train.augmentation import Augmentation
from trueslice.train.inputs import TrainingData, features_key


@dataclass(frozen=True)
class Noisy(Augmentation):
    """An augmentation with a fifth parameter."""

    noise: float


def pixels(encoder) -> Pixels:
    return Pixels(scans()[0], np.arange(80), encoder.image_size, encoder.device)


def test_features_are_computed_once_and_a_lost_view_again(family, tmp_path):
    one = tuned(family("clip"), cache=tmp_path, tune="projection", views=3)
    files = sorted(tmp_path.glob("*/*"))
    assert [path.name for path in files] == ["view-0.npy", "view-1.npy", "view-2.npy"]
    written = [path.stat().st_mtime_ns for path in files]
    files[1].unlink()
    other = tuned(family("clip"), cache=tmp_path, tune="projection", views=3)
    assert one == other
    assert [path.stat().st_mtime_ns == time for path, time in zip(files, written, strict=True)] == [True, False, True]


def test_only_the_newest_features_stay(family, tmp_path):
    made = []
    for degrees in range(6):
        tuned(family("clip"), cache=tmp_path, tune="projection", epochs=1, rotation=degrees)
        made += [path.name for path in tmp_path.iterdir() if path.is_dir() and path.name not in made]
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == set(made[2:])


def test_the_first_view_is_the_scan_itself_and_validation_sees_no_other(family, device, tmp_path):
    inputs = trainer(family("clip", device), cache=tmp_path, tune="projection", precision="fp32").inputs
    untouched = family("clip", device)
    batch = torch.from_numpy(scans()[0])[:, None].to(device)
    with torch.inference_mode():
        expected = untouched.image_features(batch)
        torch.testing.assert_close(inputs.embed(torch.arange(80)), untouched.encode_images(batch), atol=1e-5, rtol=0)
    first, second = (np.load(next(tmp_path.glob(f"*/view-{view}.npy"))) for view in (0, 1))
    torch.testing.assert_close(torch.from_numpy(first), expected.cpu(), atol=1e-5, rtol=0)
    assert not np.allclose(first, second, atol=1e-3)


def test_every_parameter_of_the_augmentation_is_part_of_the_key(encoder):
    """Also one that is added later: features of other views must not be taken for those of this one."""
    four = {"horizontal_flip": 0.5, "rotation": 10.0, "translation": 0.1, "scale": 0.1}
    augmentations = [Augmentation(**four), Noisy(**four, noise=0.1), Noisy(**four, noise=0.2)]
    augmentations += [Augmentation(**(four | {name: 0.2})) for name in four]
    keys = {features_key(encoder, pixels(encoder), each, False) for each in augmentations}
    assert len(keys) == len(augmentations)
    assert features_key(encoder, pixels(encoder), Augmentation.of(Train(**CONFIG)), False) not in keys


def edited(folder, name: str, section: str | None, **values) -> None:
    content = json.loads((folder / name).read_text())
    (content[section] if section else content).update(values)
    (folder / name).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "section", "values"),
    [
        ("processor_config.json", "image_processor", {"image_mean": [0.1, 0.1, 0.1]}),
        ("processor_config.json", "image_processor", {"image_std": [0.9, 0.9, 0.9]}),
        ("config.json", "vision_config", {"hidden_act": "relu"}),
    ],
)
def test_another_normalisation_or_activation_trains_on_other_features(family_folder, tmp_path, name, section, values):
    folder = shutil.copytree(family_folder("clip"), tmp_path / "checkpoint")
    before = tuned(Encoder.load(folder, "cpu"), cache=tmp_path / "features", tune="projection", epochs=1)
    edited(folder, name, section, **values)
    cached = tuned(Encoder.load(folder, "cpu"), cache=tmp_path / "features", tune="projection", epochs=1)
    fresh = tuned(Encoder.load(folder, "cpu"), cache=tmp_path / "other", tune="projection", epochs=1)
    assert cached == fresh != before


def test_training_data_are_the_scans_of_train_and_val_in_the_order_of_their_rows(encoder):
    split = np.array(["test", "train", "dropped", "val", "train", "test"])
    names = np.array(["b", "b", "a", "a", "a", "b"])
    flat = np.arange(6)
    splits = Splits(names, names, names, flat, names, flat, split, names, names)
    array = np.stack([np.full((64, 64), 10 * row, np.uint8) for row in range(6)])
    data = TrainingData.select(splits, array, {"a": ["an a"], "b": ["one b", "two b"]}, encoder)
    assert data.train.tolist() == [0, 2] and data.val.tolist() == [1]
    assert data.labels.tolist() == [1, 0, 0]
    assert data.pixels.take(torch.arange(3))[:, 0, 0, 0].tolist() == [10, 30, 40]
    assert data.captions.texts == ["an a", "one b", "two b"]
