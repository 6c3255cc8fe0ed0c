from collections.abc import Iterator

import pytest
from serving import serving


@pytest.fixture(scope="session")
def page_url(workspace) -> Iterator[str]:
    with serving(workspace) as url:
        yield url
