from pathlib import Path

import pytest

from tumorclip.clip import tiny
from tumorclip.clip.encoder import Encoder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder, seed=0)
    return folder


@pytest.fixture
def encoder(tiny_folder) -> Encoder:
    return Encoder.load(tiny_folder, "cpu")
