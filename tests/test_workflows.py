"""GitHub workflows run make targets with pinned actions and few permissions; the linters report nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .imports import ROOT

FILES = sorted([*ROOT.glob(".github/workflows/*.yml"), *ROOT.glob(".github/actions/*/action.yml")])
WORKFLOWS = [path for path in FILES if path.parent.name == "workflows"]
RULES = re.findall(r"^([a-z][a-z -]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
TARGETS = {target for rule in RULES for target in rule.split()}
ACTION = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1"
UNPINNED = f"""
on: pull_request
permissions: {{}}
jobs:
  job:
    runs-on: ubuntu-24.04
    steps:
      - uses: {ACTION.partition("@")[0]}@v7
        with: {{persist-credentials: false}}
"""
INJECTION = f"""
on: issues
permissions: {{}}
jobs:
  job:
    runs-on: ubuntu-24.04
    steps:
      - uses: {ACTION} # v7.0.1
        with: {{persist-credentials: false}}
      - run: echo "${{{{ github.event.issue.title }}}}"
"""


def identifier(path: Path) -> str:
    return str(path.relative_to(ROOT / ".github"))


def steps_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the steps of a workflow or of a composite action."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    for job in document.get("jobs", {"action": document.get("runs", {})}).values():
        yield from job.get("steps", [])


@pytest.mark.parametrize("path", FILES, ids=identifier)
def test_each_command_is_a_make_target(path: Path) -> None:
    commands = [step["run"].strip() for step in steps_of(path) if "run" in step]
    assert commands
    for command in commands:
        words = re.fullmatch(r'make (?:-C "[^"]+" )?([a-z-]+)(?: [^\n;&|]*)?', command)
        assert words, command
        assert words[1] in TARGETS, command


@pytest.mark.parametrize("path", FILES, ids=identifier)
def test_each_action_is_pinned_by_commit_with_its_version(path: Path) -> None:
    for line in re.findall(r"uses: (.+)", path.read_text(encoding="utf-8")):
        assert re.fullmatch(
            r"[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/\S+(?: # .+)?", line
        ), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=identifier)
def test_permissions_are_granted_to_jobs_only(path: Path) -> None:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert document["permissions"] == {}
    for name, job in document["jobs"].items():
        assert job["permissions"].get("contents") in {"read", None}, name
        assert job.get("timeout-minutes"), name


@pytest.mark.parametrize("path", WORKFLOWS, ids=identifier)
def test_forks_get_neither_secrets_nor_the_rights_of_the_target(path: Path) -> None:
    # YAML 1.1 reads the key `on` as true.
    triggers = yaml.safe_load(path.read_text(encoding="utf-8"))[True]
    assert not {"pull_request_target", "workflow_run"} & set(triggers)


@pytest.mark.parametrize(
    ("workflow", "finding"), [(UNPINNED, "unpinned-uses"), (INJECTION, "template-injection")]
)
def test_zizmor_reports_an_insecure_workflow(workflow: str, finding: str, tmp_path: Path) -> None:
    path = tmp_path / ".github/workflows/ci.yml"
    path.parent.mkdir(parents=True)
    path.write_text(workflow, encoding="utf-8")
    code, output = lint("zizmor", "--offline", "--quiet", str(path))
    assert code != 0
    assert finding in output


def test_zizmor_reports_nothing() -> None:
    code, output = lint("zizmor", "--offline", "--quiet", "--strict-collection", str(ROOT / ".github"))
    assert code == 0, output
    assert output.startswith("No findings to report.")


def test_actionlint_reports_a_wrong_expression_and_nothing_here(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(INJECTION.replace("github.event.issue.title", "matrix.unknown"), encoding="utf-8")
    code, output = lint(actionlint(), str(wrong))
    assert code == 1
    assert 'property "unknown" is not defined' in output
    assert lint(actionlint(), *map(str, WORKFLOWS)) == (0, "")


def actionlint() -> str:
    """Return the name of the program that `make lint-workflows` builds. Skip the test without it."""
    programs = sorted(Path(sys.executable).parent.glob("actionlint-*"))
    if not programs and not shutil.which("actionlint"):
        pytest.skip("actionlint is not installed: make lint-workflows")
    return programs[-1].name if programs else "actionlint"


def lint(program: str, *arguments: str) -> tuple[int, str]:
    """Run a linter. Return its exit code and its output."""
    path = shutil.which(program, path=Path(sys.executable).parent) or program
    # GITHUB_ACTIONS and FORCE_COLOR would colour the output.
    environment = {**os.environ, "NO_COLOR": "1"}
    for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "CLICOLOR_FORCE"):
        environment.pop(name, None)
    process = subprocess.run(
        [path, *arguments], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    return process.returncode, process.stdout
