import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import serving
from trueslice.files import read_json, write_json


@pytest.fixture(scope="session")
def explaining(released, tmp_path_factory) -> Path:
    """The released model, as if its maps had been found to point at tumours."""
    folder = shutil.copytree(released / "models/released", tmp_path_factory.mktemp("explaining") / "model")
    settings = read_json(folder / "trueslice.json")
    write_json(folder / "trueslice.json", settings | {"explain": {"shown": True, "reason": "a test"}})
    return folder


@pytest.fixture(scope="session")
def page_url(released) -> Iterator[str]:
    """The address that is printed, with the token."""
    with serving(released) as url:
        yield url
