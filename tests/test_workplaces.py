"""The workflow of GitHub Actions, the dev container and what VS Code is told: against schemas, and each other."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github/workflows/ci.yml"
ACTION = ROOT / ".github/actions/setup/action.yml"
JOBS = YAML(typ="safe").load(WORKFLOW)["jobs"]
CONTAINER = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text("utf-8"))


@pytest.mark.parametrize(("schema", "path"), [("vendor.github-workflows", WORKFLOW), ("vendor.github-actions", ACTION)])
def test_github_files_hold_their_schema(schema, path):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_workflow_runs_all_that_must_pass_before_a_change_lands():
    steps = {step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step}
    commands = re.findall(r"^(?:make|\.ci/).*", (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE)
    assert len(commands) == 5
    assert set(commands) <= steps


def test_every_action_is_pinned_to_a_commit_and_every_job_to_a_time():
    used = re.findall(r"uses: (?!\./)(.*)", WORKFLOW.read_text("utf-8") + ACTION.read_text("utf-8"))
    assert used
    assert not [each for each in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", each)]
    assert all(job["timeout-minutes"] <= 90 for job in JOBS.values())


def test_the_workflow_may_only_read_and_knows_no_secret():
    workflow = YAML(typ="safe").load(WORKFLOW)
    assert workflow["permissions"] == {"contents": "read"}
    assert not [name for name, job in JOBS.items() if "permissions" in job]
    assert "secrets." not in WORKFLOW.read_text("utf-8")


def test_the_dev_container_is_set_up_by_a_make_target_and_finds_its_python():
    allowed = {"name", "image", "postCreateCommand", "remoteEnv", "customizations"}  # of containers.dev's base schema
    assert set(CONTAINER) <= allowed
    program, target = CONTAINER["postCreateCommand"].split()
    assert program == "make"
    assert re.search(f"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert CONTAINER["remoteEnv"]["PATH"].startswith("${containerWorkspaceFolder}/.venv/bin:")
    settings = CONTAINER["customizations"]["vscode"]["settings"]
    assert settings["python.defaultInterpreterPath"] == "${containerWorkspaceFolder}/.venv/bin/python"


def test_vs_code_recommends_what_the_dev_container_installs():
    recommended = json.loads((ROOT / ".vscode/extensions.json").read_text("utf-8"))["recommendations"]
    assert recommended == CONTAINER["customizations"]["vscode"]["extensions"]
    assert all(re.fullmatch(r"[\w-]+\.[\w-]+", each) for each in recommended)
