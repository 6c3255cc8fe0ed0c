"""dvc.yaml is the table of contents: what it says of a stage is what the stage does."""

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]


def module_file(name: str) -> Path | None:
    """The file of a module of this project, relative to the root; None for any other module."""
    path = Path(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (ROOT / candidate).exists():
            return candidate
    return None


def imports(path: Path) -> set[Path]:
    """The project's files that `path` imports itself, anywhere in it, with the packages around them."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    packages = {name.rsplit(".", end)[0] for name in names for end in range(name.count(".") + 1)}
    return {file for name in names | packages if (file := module_file(name))}


def all_imports(path: Path) -> set[Path]:
    found, waiting = set(), {path}
    while waiting:
        found |= waiting
        waiting = set().union(*map(imports, waiting)) - found
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_modules_it_imports(stage):
    script = Path("stages", f"{stage}.py")
    # params.py is left out: it is the values that count, and `params:` tracks them.
    imported = all_imports(script) | {Path("stages/__init__.py")} - {Path("tumorclip/params.py")}
    listed = {Path(dep) for dep in STAGES[stage]["deps"] if dep.startswith(("stages/", "tumorclip/"))}
    assert sorted(listed) == sorted(imported - {Path("tumorclip/params.py")})


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_depends_on_the_machine_section_or_on_all_of_params(stage):
    listed = STAGES[stage].get("params", [])
    assert all(isinstance(name, str) and not name.startswith("machine") for name in listed)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_script_is_short(stage):
    # The rule of the house: a stage reads parameters, calls the library and writes its outputs.
    assert len((ROOT / "stages" / f"{stage}.py").read_text().splitlines()) <= 110


@pytest.mark.parametrize("stage", ["download", "verify", "split"])
def test_a_light_stage_starts_without_torch(stage):
    heavy = {"torch", "transformers", "matplotlib", "sklearn"}
    for path in all_imports(Path("stages", f"{stage}.py")):
        top_level = [
            node for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = {alias.name for node in top_level if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in top_level if isinstance(node, ast.ImportFrom)}
        assert not heavy & {name.split(".")[0] for name in names}, path
