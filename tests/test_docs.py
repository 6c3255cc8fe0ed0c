"""What README and docs say must be so: links, parameters, commands, and the diffs of docs/extending.md."""

import importlib
import re
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser
from PIL import Image
from ruamel.yaml import YAML

from trueslice.commands.cli import COMMANDS
from trueslice.params import Params

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "data", "patients", "research", "research/simulations")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(ROOT / folder / "README.md" for folder in FOLDERS),
    *sorted((ROOT / "docs").glob("*.md")),
]
EXTENDING = ROOT / "docs/extending.md"
OWN_SCANS = ROOT / "docs/own-scans.md"
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
PARAMS = YAML(typ="safe").load(ROOT / "params.yaml")
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
SHELL = ("", "bash", "sh")
PROGRAMS = ("dvc", "make", "trueslice", "python")


class Diff(NamedTuple):
    """A diff of docs/extending.md: the heading that it stands under, and the commands in the block after it."""

    heading: str
    text: str
    commands: str


def outside_code(text: str) -> str:
    return CODE.sub("", FENCE.sub("", text))


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def outputs() -> list[str]:
    """The paths that dvc.yaml says a stage writes."""
    kinds = ("outs", "metrics", "plots")
    entries = [entry for stage in STAGES.values() for kind in kinds for entry in stage.get(kind, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def keys(section: dict, prefix: str = "") -> Iterator[str]:
    """The dotted names of all parameters; the classes below `classes` are the user's own."""
    for name, value in section.items():
        if isinstance(value, dict) and name != "classes":
            yield from keys(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def exists(key: str) -> bool:
    section = PARAMS
    for name in key.split("."):
        if not isinstance(section, dict) or name not in section:
            return False
        section = section[name]
    return True


def commands(text: str) -> list[list[str]]:
    """The commands that a page tells to type, as words: of its code blocks, and those that stand in a sentence."""
    lines = [line for kind, block in FENCE.findall(text) if kind in SHELL for line in block.splitlines()]
    parts = [part for line in lines + CODE.findall(FENCE.sub("", text)) for part in line.split(" && ")]
    told = [part for part in parts if part.startswith(tuple(f"{program} " for program in PROGRAMS))]
    return [shlex.split(part, comments=True) for part in told]


def all_commands(program: str) -> list[list[str]]:
    """The commands of all pages but docs/extending.md, whose commands are run on what its diffs add."""
    pages = [page for page in PAGES if page != EXTENDING]
    return [command for page in pages for command in commands(page.read_text("utf-8")) if command[0] == program]


def settings(words: list[str]) -> list[dict[str, str]]:
    """What `-S` sets in a command: one dict for each experiment, since a value with commas stands for several."""
    pairs = [words[place + 1].split("=", 1) for place, word in enumerate(words) if word == "-S"]
    return [dict(chosen) for chosen in product(*([(key, each) for each in value.split(",")] for key, value in pairs))]


def diffs() -> list[Diff]:
    found = []
    for part in re.split(r"^## ", EXTENDING.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        blocks = FENCE.findall(part)
        for (kind, text), (_, below) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
            if kind == "diff":
                found.append(Diff(part.splitlines()[0], text, below))
    return found


DIFFS = diffs()


def test_the_readme_is_for_a_person_in_a_hurry():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) < 170 and len(text.split()) < 1500


def test_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs").glob("*.png")}
    assert sizes and max(sizes.values()) < 300_000


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(name):
    page = ROOT / name
    for target in re.findall(r"\]\(([^)]+)\)", outside_code(page.read_text("utf-8"))):
        if target.startswith("https://"):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not fragment or fragment in map(anchor, headings(file.read_text("utf-8"))), target


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = re.findall(r"\]\(([^)#]+\.md)", outside_code(page.read_text("utf-8")))
        targets = [(page.parent / link).resolve() for link in links if not link.startswith("https://")]
        waiting += [target for target in targets if target not in reached]
    assert set(PAGES) - reached == {ROOT / "data/README.md"}


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_that_is_named_exists(name):
    text = FENCE.sub(lambda block: "" if block[1] else block[2], (ROOT / name).read_text("utf-8"))
    for key in re.findall(rf"(?<![\w/.])((?:{'|'.join(PARAMS)})\.\w+(?:\.\w+)*)", text):
        is_file = key.endswith((".md", ".py", ".json", ".csv"))
        assert is_file or exists(key), key


def test_every_parameter_is_explained():
    page = (ROOT / "docs/parameters.md").read_text("utf-8")
    explained = re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE)
    assert Counter(key for key in explained if exists(key)) == Counter(keys(PARAMS))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "CHANGELOG.md"])
def test_every_path_that_is_named_exists_or_is_an_output(name):
    folders = "stages|trueslice|tests|research|benchmarks|docs|patients|presets|data|models|metrics|plots"
    for path in CODE.findall(FENCE.sub("", (ROOT / name).read_text("utf-8"))):
        if re.fullmatch(rf"(?:{folders})/[\w./-]*", path):
            is_output = any(f"{path}/".startswith(f"{output}/") for output in outputs())
            assert is_output or (ROOT / path).exists(), path


def test_every_output_and_every_stage_is_explained():
    page = (ROOT / "docs/data.md").read_text("utf-8")
    described = re.findall(r"^\| `([\w./]+)`", page, re.MULTILINE)
    assert not [output for output in outputs() if not any(path.startswith(output) for path in described)]
    drawing = FENCE.findall(page)[0][1]
    assert dict(re.findall(r"(\d+) (\w+)", drawing)) == {str(n): name for n, name in enumerate(STAGES, start=1)}


@pytest.mark.parametrize("command", all_commands("dvc"), ids=" ".join)
def test_every_dvc_command_is_one(command):
    try:
        options = get_main_parser().parse_args(command[1:])
    except DvcParserError:
        pytest.fail(f"dvc does not know: {' '.join(command)}")
    for target in getattr(options, "targets", None) or []:
        assert target in (*STAGES, *outputs())
    for chosen in settings(command):
        content = YAML(typ="safe").load(ROOT / "params.yaml")
        for key, value in chosen.items():
            assert exists(key), key
            *sections, name = key.split(".")
            section = content
            for part in sections:
                section = section[part]
            section[name] = YAML(typ="safe").load(value)
        Params.model_validate(content)


@pytest.mark.parametrize("command", all_commands("make"), ids=" ".join)
def test_every_make_target_exists(command):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert command[1] in targets


@pytest.mark.parametrize("command", all_commands("python"), ids=" ".join)
def test_every_module_that_is_run_can_be_imported(command):
    assert command[1] == "-m"
    importlib.import_module(command[2])
    assert not [word for word in command if word.endswith(".py") and not (ROOT / word).exists()]


def test_the_first_screen_of_the_readme_says_how_to_start():
    start = "\n".join((ROOT / "README.md").read_text("utf-8").splitlines()[:45])
    assert all(
        part in start for part in ("make repro", "trueslice preset", "trueslice init", "docs/own-scans.md", "minutes")
    )


@pytest.mark.parametrize("command", all_commands("trueslice"), ids=" ".join)
def test_every_preset_that_is_named_is_there(command):
    if command[1] == "preset":
        assert not [name for name in command[2:] if not (ROOT / f"presets/{name}.yaml").exists() and name != "NAME"]


def test_every_subcommand_exists():
    assert {command[1] for command in all_commands("trueslice")} - {"--help"} == set(COMMANDS)


@pytest.mark.parametrize("diff", DIFFS, ids=lambda diff: diff.heading)
def test_every_diff_of_extending_applies(diff):
    done = subprocess.run(["git", "apply", "--check", "-"], cwd=ROOT, input=diff.text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_commands_of_extending_run_on_what_its_diffs_add(project):
    shutil.copytree(ROOT / "tests", project.root / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", project.root)
    for diff in DIFFS:
        (project.root / "extension.diff").write_text(diff.text, encoding="utf-8")
        project.run("git apply extension.diff && rm extension.diff", check=True)
    for diff in sorted(DIFFS, key=lambda diff: diff.heading == "A data source"):  # last: the others share phantoms
        done = project.run(f"set -e\n{diff.commands}")
        assert diff.commands.strip() and done.returncode == 0, done.stdout


def fill(folder: Path) -> None:
    """Put small pictures into class folders as docs/own-scans.md draws them, with a table of patients."""
    rng = np.random.default_rng(0)
    rows = []
    for name, number in product(("meningioma", "metastasis", "normal"), range(24)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        grey = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(grey).resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{name}/{number}.png")
        rows.append(f"{name}/{number}.png,{name[:3]}{number // 2}\n")
    (folder / "patients.csv").write_text("".join(["path,patient\n", *rows]))


@pytest.mark.slow
def test_the_commands_of_own_scans_lead_from_folders_to_the_report(project):
    fill(project.root.parent / "scans")
    for key, value in {"verify.image_size": 64, "train.epochs": 1, "train.device": "cpu"}.items():
        project.set(key, value)
    starts = ("trueslice", "git", "dvc")
    shell = [block for _, block in FENCE.findall(OWN_SCANS.read_text("utf-8")) if block.startswith(starts)]
    first, repro, preset, again = shell
    done = project.run(f"set -e\n{first}")
    assert done.returncode == 0 and "36 patients, known for 72 of 72 scan files" in done.stdout, done.stdout
    # In a clone, Git knows the results already.
    project.run(f"set -e\n{repro.replace('dvc repro', 'dvc repro && git add -A')}", check=True)
    assert project.run("git log --format=%s --max-count=2", check=True).stdout == "My base run\nMy scans\n"
    assert "metastasis" in (project.root / "plots/report.html").read_text("utf-8")
    project.run(f"set -e\n{again}", check=True)
    project.run(preset.splitlines()[0], check=True)
    assert "name: lite " in (project.root / "params.yaml").read_text()


def test_a_score_reruns_no_stage_before_evaluate():
    changed = re.findall(r"^\+\+\+ b/(.*)$", DIFFS[-1].text, re.MULTILINE)
    names = list(STAGES)
    for name in names[: names.index("evaluate")]:
        assert not [path for path in changed if any(f"{path}/".startswith(f"{dep}/") for dep in STAGES[name]["deps"])]


def test_extending_shows_a_loss_a_family_a_source_and_a_score():
    assert [diff.heading for diff in DIFFS] == ["A loss", "A checkpoint family", "A data source", "A score"]


@pytest.mark.parametrize("name", ["audit", "maps"])
def test_git_ignores_what_a_documented_command_writes(name):
    subprocess.run(["git", "check-ignore", "-q", f"{name}/file"], cwd=ROOT, check=True)
