from pathlib import Path

import pytest

from tests.families import FAMILIES
from trueslice.model.encoder import Encoder


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory):
    """Gives the folder of a small checkpoint of a family by its name."""
    folders: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            FAMILIES[name](folders[name])
        return folders[name]

    return build


@pytest.fixture
def family(family_folder):
    """Gives a fresh encoder of a family by its name, on the CPU or another device."""
    return lambda name, device="cpu": Encoder.load(family_folder(name), device)


@pytest.fixture
def encoder(family):
    """A fresh encoder that trains five times as fast as `tiny`."""
    return family("clip")
