"""The reusable action, the GitLab template and the comment: their commands, run as a CI job runs them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kfp_server import KfpServer, kfp_server

from .fakes import web
from .imports import ROOT

ACTION = ROOT / ".github/actions/upload-pipelines/action.yml"
TEMPLATE = ROOT / ".gitlab/continuous-training.yml"
WORKLOAD = "from workloads.iris.workload import Iris\n\n\nclass WORKLOAD(Iris):\n    name = 'fruits'\n"
GH = '#!/bin/sh\nprintf "%s\\n" "$@" > "$CALLS"\n'


@pytest.fixture
def kfp() -> Iterator[KfpServer]:
    with kfp_server() as server:
        server.token = "s3cret"  # noqa: S105
        yield server


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A user's repository with one workload and a schedule file."""
    folder = tmp_path / "repository"
    (folder / "workloads/fruits").mkdir(parents=True)
    (folder / "workloads/fruits/workload.py").write_text(WORKLOAD, encoding="utf-8")
    schedule = {"name": "nightly", "workload": "fruits", "cron": "30 2 * * *"}
    (folder / "schedules.yaml").write_text(yaml.safe_dump({"schedules": [schedule]}), encoding="utf-8")
    return folder


def evaluate(text: str, values: Mapping[str, str]) -> str:
    """Return a text of the action with its expressions replaced, as GitHub does."""

    def replace(match: re.Match[str]) -> str:
        name, _, formatted = match[1].partition(" && ")
        workspace = f"{values['github.workspace']}/{values[name]}"
        return workspace if formatted and values[name] else values[name]

    return re.sub(r"\$\{\{ (.+?) \}\}", replace, text)


def run_make(command: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command of a make target without the installation that may precede it."""
    dry_run = command.replace("make ", "make --dry-run --no-print-directory ", 1)
    recipe = run_shell(dry_run, environment).stdout.splitlines()[-1]
    return run_shell(recipe, environment)


def run_shell(command: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env={**os.environ, **environment},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def run_action(repository: Path, **inputs: str) -> list[subprocess.CompletedProcess[str]]:
    """Run the steps of the action with these inputs. Return the results of its commands."""
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    values = {f"inputs.{name}": str(entry.get("default", "")) for name, entry in action["inputs"].items()}
    values |= {f"inputs.{name}": value for name, value in inputs.items()}
    values |= {"github.action_path": str(ACTION.parent), "github.workspace": str(repository)}
    results = []
    for step in action["runs"]["steps"]:
        if "run" not in step or ("if" in step and not inputs.get("schedules")):
            continue
        environment = {name: evaluate(text, values) for name, text in step["env"].items()}
        results.append(run_make(step["run"], environment | {"KUBECONFIG": str(repository / "none")}))
    return results


def test_the_action_uploads_a_workload_of_another_repository(repository: Path, kfp: KfpServer) -> None:
    inputs = {"workloads": "fruits", "registry": "registry.example/ct", "host": kfp.url, "token": "s3cret"}
    (uploaded,) = run_action(repository, **inputs)
    assert uploaded.returncode == 0, uploaded.stderr
    assert [pipeline["name"] for pipeline in kfp.pipelines.values()] == ["fruits"]
    assert kfp.recurring_runs == {}
    assert "s3cret" not in uploaded.stdout + uploaded.stderr

    results = run_action(repository, **inputs, schedules="schedules.yaml")
    assert [result.returncode for result in results] == [0, 0], results[-1].stderr
    assert [run["display_name"] for run in kfp.recurring_runs.values()] == ["nightly"]


def test_the_action_fails_with_a_wrong_token(repository: Path, kfp: KfpServer) -> None:
    inputs = {"workloads": "fruits", "registry": "registry.example/ct", "host": kfp.url, "token": "wrong"}
    (result,) = run_action(repository, **inputs)
    assert result.returncode != 0
    assert kfp.pipelines == {}


def template() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the inputs and the jobs of the GitLab template."""
    header, jobs = yaml.safe_load_all(TEMPLATE.read_text(encoding="utf-8"))
    return header["spec"]["inputs"], jobs


def test_the_gitlab_template_runs_make_targets_with_declared_inputs() -> None:
    inputs, jobs = template()
    assert set(re.findall(r"\$\[\[ inputs\.(\w+) \]\]", TEMPLATE.read_text(encoding="utf-8"))) == set(inputs)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = [
        line for job in jobs.values() for key in ("script", "after_script") for line in job.get(key, [])
    ]
    assert commands
    for command in commands:
        words = re.fullmatch(r'make -C "\$CT_PROJECT" ([a-z-]+)', command)
        assert words, command
        assert words[1] in targets


def test_the_gitlab_jobs_upload_and_schedule(repository: Path, kfp: KfpServer) -> None:
    _, jobs = template()
    values = {"workloads": "fruits", "registry": "registry.example/ct", "schedules": "schedules.yaml"}
    environment = {
        "CI_PROJECT_DIR": str(repository),
        "KF_PIPELINES_ENDPOINT": kfp.url,
        "CT_KFP_TOKEN": "s3cret",
        "KUBECONFIG": str(repository / "none"),
        "CT_PROJECT": str(ROOT),
        "PYTHONPATH": f"{ROOT}:{repository}",
    }
    for name in ("continuous-training-upload", "continuous-training-schedules"):
        variables = jobs[".continuous-training"]["variables"] | jobs[name]["variables"]
        for key, text in variables.items():
            value = re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda match: values.get(match[1], ""), text)
            environment.setdefault(key, value.replace("$CI_PROJECT_DIR", str(repository)))
        (command,) = jobs[name]["script"]
        result = run_make(command, environment)
        assert result.returncode == 0, result.stderr
    assert [run["display_name"] for run in kfp.recurring_runs.values()] == ["nightly"]


@pytest.fixture
def comment(tmp_path: Path) -> Path:
    """The text of a comment."""
    path = tmp_path / "summary.md"
    path.write_text("### digits: promoted\n", encoding="utf-8")
    return path


def send_comment(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", ROOT / "scripts/comment", path],
        env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_comment_replaces_the_previous_one_on_github(comment: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin/gh"
    program.parent.mkdir()
    program.write_text(GH, encoding="utf-8")
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    result = send_comment(comment, PATH=path, PULL_REQUEST="7", CALLS=str(tmp_path / "calls"))
    assert result.returncode == 0, result.stderr
    words = (tmp_path / "calls").read_text(encoding="utf-8").split()
    expected = ["pr", "comment", "7", "--edit-last", "--create-if-none", "--body-file", str(comment)]
    assert words == expected


def test_a_comment_outside_ci_is_rejected(comment: Path) -> None:
    result = send_comment(comment)
    assert result.returncode == 2
    assert "PULL_REQUEST" in result.stderr


def test_a_comment_on_gitlab(comment: Path) -> None:
    with web(lambda *_: (201, {})) as gitlab:
        result = send_comment(
            comment,
            GITLAB_CI="true",
            GITLAB_TOKEN="s3cret",  # noqa: S106
            CI_API_V4_URL=f"{gitlab.url}/api/v4",
            CI_PROJECT_ID="3",
            CI_MERGE_REQUEST_IID="7",
        )
    assert result.returncode == 0, result.stderr
    ((method, path, body),) = gitlab.requests
    assert (method, path) == ("POST", "/api/v4/projects/3/merge_requests/7/notes")
    assert b"### digits: promoted" in body
    assert b"s3cret" not in body


def test_a_fork_on_gitlab_sends_no_comment(comment: Path) -> None:
    result = send_comment(comment, GITLAB_CI="true", CI_API_V4_URL="http://127.0.0.1:9")
    assert (result.returncode, result.stdout) == (0, "")
    assert "no comment" in result.stderr
