import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.released import release_again
from tests.serving import serving
from trueslice.records.released import HeatMaps
from trueslice.records.withheld import Promise


@pytest.fixture(scope="session")
def explaining(released, tmp_path_factory) -> Path:
    """The released model, as if its maps had been found to point at tumours."""
    folder = shutil.copytree(released / "models/released", tmp_path_factory.mktemp("explaining") / "model")
    release_again(folder, explain=HeatMaps(shown=True, reason="a test"))
    return folder


@pytest.fixture(scope="session")
def careful(released, tmp_path_factory) -> Path:
    """The released model, as if validation had chosen a threshold that next to no scan reaches."""
    folder = shutil.copytree(released / "models/released", tmp_path_factory.mktemp("careful") / "model")
    release_again(folder, promise=Promise(max_error=0.1, holds_with=0.9, threshold=0.9999, scans=100, independent=50))
    return folder


@pytest.fixture(scope="session")
def page_url(released) -> Iterator[str]:
    """The address that is printed, with the token."""
    with serving(released) as url:
        yield url
