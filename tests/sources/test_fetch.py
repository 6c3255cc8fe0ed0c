"""The sources of `data.source`, by their names."""

from pathlib import Path

import pytest
from PIL import Image

from trueslice import params
from trueslice.errors import UserError
from trueslice.sources import fetch

ROOT = Path(__file__).parents[2]
DATA = params.load(ROOT / "params.yaml").data


@pytest.fixture
def context(tmp_path: Path) -> fetch.Context:
    return fetch.Context(root=tmp_path, cache=tmp_path / "cache", workers=1)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_phantoms_are_drawn_as_their_parameters_say(tmp_path: Path, context):
    drawn = DATA.phantom.model_copy(update={"train_per_class": 2, "test_per_class": 1})
    data = DATA.model_copy(update={"source": "phantom", "phantom": drawn})
    assert fetch.fetch(data, tmp_path / "raw", context) == 0
    assert len(files(tmp_path / "raw/Training")) == 8
    assert len(files(tmp_path / "raw/Testing")) == 4


def test_any_other_name_is_a_path_from_the_root(tmp_path: Path, context):
    (tmp_path / "mine/a").mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "mine/a/1.png")
    (tmp_path / "mine/notes.pdf").write_bytes(b"x")
    (tmp_path / "raw").mkdir()
    assert fetch.fetch(DATA.model_copy(update={"source": "mine"}), tmp_path / "raw", context) == 1
    assert files(tmp_path / "raw") == ["a/1.png"]
    with pytest.raises(UserError, match=r"nowhere does not exist; set data.source to phantom, kaggle, or the path"):
        fetch.fetch(DATA.model_copy(update={"source": "nowhere"}), tmp_path / "raw", context)


def test_the_names_in_the_table_are_those_that_params_yaml_offers():
    line = next(line for line in (ROOT / "params.yaml").read_text().splitlines() if "  source: " in line)
    assert all(name in line for name in fetch.SOURCES)
