from pathlib import Path

import pytest

from tests.stages.trainings import copied, digests, finished, prepare


@pytest.fixture(scope="session")
def untrained(tmp_path_factory) -> Path:
    """A folder with all that the train stage reads."""
    folder = tmp_path_factory.mktemp("untrained")
    prepare(folder)
    return folder


@pytest.fixture(scope="session")
def trained(untrained: Path, tmp_path_factory) -> dict[str, str]:
    """What a training without interruption makes: the hash of each file."""
    folder = copied(untrained, tmp_path_factory.mktemp("trained"))
    done = finished(folder)
    assert done.returncode == 0, done.stderr
    assert not list((folder / ".cache/training").iterdir())
    return digests(folder)


@pytest.fixture
def training(untrained: Path, tmp_path: Path) -> Path:
    """A folder of this test's own with all that the train stage reads."""
    return copied(untrained, tmp_path)
