"""dvc.yaml is the table of contents: what it says of a stage is what the stage does."""

import ast
import subprocess
import sys
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
    found = set()
    waiting = {path}
    while waiting:
        found |= waiting
        # What params.py imports decides which values are allowed; the values themselves stand under `params:`.
        waiting = set().union(*map(imports, waiting - {Path("trueslice/params.py")})) - found
    return found


# They report, check or write what other code has decided. A change in them makes no other output.
AROUND = {
    Path(f"trueslice/{name}.py")
    for name in ("__init__", "params", "errors", "ending", "files", "lifetime", "device", "progress", "startup")
}


def parts(package: Path) -> list[Path]:
    """Files of a folder of the package by which an output can change; most `__init__.py` hold a title only."""
    found = [path.relative_to(ROOT) for path in (ROOT / package).rglob("*") if path.is_file()]
    return [path for path in found if "__pycache__" not in path.parts and path not in AROUND and not is_title(path)]


def is_title(path: Path) -> bool:
    return path.name == "__init__.py" and len(ast.parse((ROOT / path).read_text()).body) == 1


def with_data(modules: set[Path]) -> set[Path]:
    """Modules, and the templates and tables that they name and that lie in their folder."""
    text = {path: (ROOT / path).read_text() for path in modules}
    beside = [path for path in parts(Path("trueslice")) if path.suffix != ".py"]
    named = {
        path for path in beside for module in modules if module.parent == path.parent and path.name in text[module]
    }
    # A template may include another one.
    inner = {
        path
        for path in beside
        for other in named
        if other.parent == path.parent and path.name in (ROOT / other).read_text()
    }
    return modules | named | inner


def code_of(stage: str) -> set[Path]:
    """All files of the package that a stage imports or reads, directly or not."""
    imported = all_imports(Path("stages", f"{stage}.py"))
    return {
        path
        for path in with_data(imported)
        if path.parts[0] == "trueslice" and path not in AROUND and not is_title(path)
    }


def shortest(code: set[Path]) -> list[str]:
    """`code` as dvc.yaml lists it: a folder where all of it is meant, else single files."""
    listed = set()
    for path in code:
        folder = path.parent
        is_whole = folder != Path("trueslice") and set(parts(folder)) <= code
        listed.add(str(folder if is_whole else path))
    return sorted(listed)


@pytest.mark.parametrize("stage", STAGES)
def test_dvc_reruns_a_stage_exactly_after_a_change_of_what_it_imports(stage):
    listed = [name for name in STAGES[stage]["deps"] if name.startswith("trueslice")]
    assert listed == shortest(code_of(stage))
    reruns = {path for path in parts(Path("trueslice")) if any(is_under(path, name) for name in listed)}
    assert reruns == code_of(stage)
    assert f"stages/{stage}.py" in STAGES[stage]["deps"]


def test_training_depends_on_nothing_before_or_after_it():
    rooms = {path.parts[1] for path in code_of("train")}
    assert rooms <= {"choices.py", "model", "records", "tables", "train"}


def is_under(path: Path, dependency: str) -> bool:
    return path == Path(dependency) or Path(dependency) in path.parents


ORDER = (
    *(
        "tables",
        "records",
        "reading",
        "sources",
        "copies",
        "audit",
        "patients",
        "splits",
        "ood",
        "model",
        "checkpoints",
        "train",
    ),
    *("baselines", "explain", "evaluate", "inference", "report", "serve", "commands"),
)


def test_a_folder_imports_only_from_folders_before_it():
    for path in (ROOT / "trueslice").rglob("*.py"):
        relative = path.relative_to(ROOT)
        own = relative.parts[1]
        for imported in imports(relative):
            assert imported.parts[0] == "trueslice", f"{relative} imports {imported}"
            other = imported.parts[1]
            if other in ORDER:
                assert own in (*ORDER, "__main__.py"), f"{relative} imports {imported}"
                assert own == "__main__.py" or ORDER.index(other) <= ORDER.index(own), f"{relative} imports {imported}"


LIMITS = {"lines": 50, "depth": 4, "parameters": 5}
# More, where a function would be harder to read in two parts.
EXCEPTIONS = {
    ("trueslice/audit/external.py", "read"): {"parameters": 6},
    ("trueslice/copies/neighbours.py", "most_alike"): {"parameters": 6},
    ("trueslice/evaluate/score.py", "summarise"): {"parameters": 6},
    ("trueslice/reading/scans.py", "read"): {"depth": 5, "parameters": 6},
    ("trueslice/train/loop.py", "__init__"): {"parameters": 6},
}
BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try)


def depth(node: ast.AST) -> int:
    """The blocks within one another; functions within are counted on their own."""
    inner = [each for each in ast.iter_child_nodes(node) if not isinstance(each, (ast.FunctionDef, ast.ClassDef))]
    return max((isinstance(each, BLOCKS) + depth(each) for each in inner), default=0)


def test_functions_fit_on_a_screen():
    for path in [*(ROOT / "stages").rglob("*.py"), *(ROOT / "trueslice").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                given = [argument for argument in arguments if argument.arg not in ("self", "cls")]
                found = {
                    "lines": node.end_lineno - node.lineno + 1, "depth": depth(node), "parameters": len(given),
                }  # fmt: skip
                for kind, limit in (
                    LIMITS | EXCEPTIONS.get((path.relative_to(ROOT).as_posix(), node.name), {})
                ).items():
                    assert found[kind] <= limit, f"{path}: {node.name} has {found[kind]} as its {kind}"


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_depends_on_the_machine_section_or_on_all_of_params(stage):
    listed = STAGES[stage].get("params", [])
    assert all(isinstance(name, str) and not name.startswith("machine") for name in listed)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_script_is_short(stage):
    # The rule of the house: a stage reads parameters, calls the library and writes its outputs.
    assert len((ROOT / "stages" / f"{stage}.py").read_text().splitlines()) <= 110


@pytest.mark.parametrize("stage", ["download", "verify", "split", "evaluate", "release"])
def test_a_light_stage_starts_without_torch(stage):
    heavy = ("torch", "transformers", "matplotlib", "sklearn")
    program = f"import sys, stages.{stage}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_benchmarks_score_by_all_stages_that_the_scores_need():
    from research.runs import SCORING

    def made(stage: str) -> set[str]:
        outs = [each for kind in ("outs", "metrics", "plots") for each in STAGES[stage].get(kind, [])]
        return {name for each in outs for name in ([each] if isinstance(each, str) else each)}

    needed, waiting = set(), {"evaluate"}
    while waiting:
        needed |= waiting
        names = [Path(name) for stage in waiting for name in STAGES[stage]["deps"]]
        found = {stage for stage in STAGES if any(is_under(name, out) for out in made(stage) for name in names)}
        waiting = found - needed
    after_training = list(STAGES)[list(STAGES).index("train") + 1 :]
    assert [stage for stage in after_training if stage in needed] == list(SCORING)
