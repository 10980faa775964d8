"""Every command in a message is accepted by its parser, and uses the same state directory or cluster."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from continuous_training.core.settings import ClusterSource, Settings, local_registry_uri
from continuous_training.operations.workspace import next_command
from pipelines import approve, rollback
from serving.__main__ import main as serving
from tests.imports import ROOT
from tests.recommended_commands import commands, parse_command

PACKAGES = ("continuous_training", "pipelines", "components", "serving", "workloads")
VERBS = {"token", "list", "status", "start"}
NAME_OF_A_PROGRAM = {"python -m serving.package"}
DECISION = "python -m pipelines.X --workload X --cluster"
"""The text of the trigger service, in which X is one of two commands."""

STATE = Path("/data/a state")
POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
SERVERS = {"MLFLOW_TRACKING_URI": "http://registry:5000", "CT_STORE": "s3://bucket/prefix"}
SETTINGS = {
    "default": (Settings.from_environment({}), {}),
    "--state": (Settings.from_environment({}, STATE), {"state": STATE}),
    "CT_STATE": (Settings.from_environment({"CT_STATE": str(STATE)}), {"state": STATE}),
    "step of a local run": (
        Settings.from_environment(
            {
                "CT_STATE": str(STATE),
                "MLFLOW_TRACKING_URI": local_registry_uri(STATE),
                "CT_STORE": str(STATE / "store"),
            }
        ),
        {"state": STATE},
    ),
    "servers": (Settings.from_environment({**SERVERS, "CT_STATE": str(STATE)}), {}),
    "target": (
        Settings.from_environment(
            {"CT_STATE": str(STATE), "CT_TARGET": "kubernetes", "CT_SERVING_IMAGE": "x"}
        ),
        {},
    ),
    "step in a pod": (Settings.from_environment({**SERVERS, **POD}), {"cluster": ""}),
    "trigger service in a pod": (
        Settings.from_environment({"CT_STATE": str(STATE), **POD}),
        {"state": STATE},
    ),
    "cluster": (
        replace(Settings.from_environment(SERVERS), cluster=ClusterSource("team", "kind-x")),
        {"cluster": "kind-x", "namespace": "team"},
    ),
    "current context": (
        replace(Settings.from_environment(SERVERS), cluster=ClusterSource("team")),
        {"cluster": "", "namespace": "team"},
    ),
}
"""Settings of commands and steps, and the location that a recommended command must have."""


def text_of(node: ast.AST) -> str:
    """Return the text of a string, in which X replaces each value."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(map(text_of, node.values)) if isinstance(node, ast.JoinedStr) else "X"


def in_text(text: str) -> Iterator[str]:
    """Yield the commands in a message, without the text that follows."""
    for rest in text.split("python -m ")[1:]:
        words = []
        for word in rest.split():
            if words and not (word[0] == "-" or word.isupper() or word in VERBS or "/" in word):
                break
            words.append(word.rstrip(".,"))
        yield " ".join(["python -m", *words])


def in_messages(tree: ast.Module) -> Iterator[str]:
    """Yield the commands in the strings of a module.

    Names of programs do not count, and docstrings only if they state the next command.
    """
    nodes = list(ast.walk(tree))
    ignored = {id(k.value) for n in nodes if isinstance(n, ast.Call) for k in n.keywords if k.arg == "prog"}
    ignored |= {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    ignored |= {
        id(node.value) for node in nodes if isinstance(node, ast.Expr) and "Next:" not in text_of(node.value)
    }
    for node in nodes:
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in ignored:
            yield from in_text(text_of(node))


def in_calls(tree: ast.Module) -> Iterator[str]:
    """Yield the commands that the calls of `next_command` in a module return, without their location."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(
            node.args[0] if node.args else None, ast.Constant
        ):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "next_command":
            yield " ".join(["python -m", text_of(node.args[0]), *map(text_of, node.args[2:])])
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "next_command":
            yield " ".join(["python -m", text_of(node.args[0]), "--workload X", *map(text_of, node.args[1:])])


def recommended() -> set[str]:
    """Return all commands in messages."""
    found: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= {*in_messages(tree), *in_calls(tree)}
    return found - NAME_OF_A_PROGRAM


def test_every_command_in_a_message_is_accepted() -> None:
    found = recommended()
    assert "python -m pipelines.rollback --workload X --to X" in found
    assert (
        "python -m components.evaluate --workload NAME --data DATA --model OUTPUT --output out/evaluation"
        in found
    )
    decisions = {DECISION.replace("pipelines.X", f"pipelines.{name}") for name in ("approve", "reject")}
    for command in sorted(found - {DECISION} | decisions):
        parse_command(command)


@pytest.mark.parametrize("module", ["status", "history", "rollback", "approve", "reject"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_command_has_the_location_of_the_settings(module: str, name: str) -> None:
    settings, location = SETTINGS[name]
    arguments = parse_command(next_command(f"pipelines.{module}", settings, "--workload", "diabetes"))
    expected: dict[str, Any] = {"state": None, "cluster": None, "namespace": None, **location}
    assert {option: getattr(arguments, option) for option in expected} == expected


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_has_the_location_of_the_settings(name: str) -> None:
    settings, location = SETTINGS[name]
    arguments = parse_command(next_command("pipelines.run", settings, "--workload", "diabetes"))
    assert arguments.state == location.get("state")
    assert arguments.target == ("cluster" if "cluster" in location else "local")


LOCATIONS = [
    ((), {}),
    (("--state", str(STATE)), {"state": STATE}),
    (("--namespace", "team", "--cluster", "kind-x"), {"namespace": "team", "cluster": "kind-x"}),
    (("--cluster",), {"cluster": ""}),
]


@pytest.mark.parametrize(("options", "location"), LOCATIONS)
@pytest.mark.parametrize("command", [rollback, approve])
def test_an_interrupted_command_recommends_status_for_its_location(
    command: Any,
    options: tuple[str, ...],
    location: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.command_line.open_settings", interrupt)
    assert command.main(["--workload", "diabetes", *options]) == 130
    (recommended_command,) = commands(capsys.readouterr().err)
    arguments = parse_command(recommended_command)
    expected = {"workload": "diabetes", "state": None, "cluster": None, "namespace": None, **location}
    assert {option: getattr(arguments, option) for option in expected} == expected


def test_an_interrupted_command_of_the_server_recommends_status_for_its_state_directory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("continuous_training.serving.process.daemon.stop", interrupt)
    assert serving(["stop", "--state", str(STATE)]) == 130
    (command,) = commands(capsys.readouterr().err)
    assert parse_command(command).state == STATE
