"""Runs that are killed before any of their writes: the next run reaches the state of an undisturbed run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters.model_registry import CHAMPION, PREVIOUS, Registry
from continuous_training.adapters.run_history import RunHistory
from continuous_training.rollout.local import LocalTarget
from continuous_training.serving.process import daemon
from tests.fakes import free_port

from .killed_run import RunEnvironment, run_in_process

WEAK, STRONG = "70", "50"
"""Values of the run parameter `fence`: of a model with many errors, and of one with few errors."""

MIN_WRITES = 40
PARTS = 8


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory whose model server runs during all tests."""
    folder = tmp_path_factory.mktemp("state")
    daemon.start(folder, free_port())
    yield folder
    daemon.stop(folder)


def create_environment(name: str, folder: Path, registry: Registry, state: Path) -> RunEnvironment:
    """Create an environment that serves a weak champion."""
    environment = RunEnvironment(name, folder, registry.uri, state)
    assert run_in_process(environment, "weak", WEAK) == (False, pytest.approx(80, abs=60))
    return environment


def check_invariants(environment: RunEnvironment) -> None:
    """Assert what must be true at any time, also after a kill."""
    registry = Registry(environment.registry_uri)
    aliases = registry.aliases(environment.name)
    versions = {version.version: version for version in registry.versions(environment.name)}
    assert CHAMPION in aliases
    for version in aliases.values():
        archive = versions[version].archive
        assert environment.store.size(archive), "an alias points to a version without an archive"
    digests = [version.digest for version in versions.values()]
    assert len(set(digests)) == len(digests) <= 2, "an archive is registered twice"
    served = served_model(environment)
    assert served["digest"] in digests, "the served version is not in the registry"
    if served["digest"] != versions[aliases[CHAMPION]].digest:
        assert served["phase"] == "probation", "a version that is not the champion is served without a trial"


def served_model(environment: RunEnvironment) -> dict[str, Any]:
    """Return the status that the server reports for the workload."""
    models = LocalTarget(environment.state).endpoint.models()
    return next(model.to_json() for model in models if model.name == environment.name)


def outcome(environment: RunEnvironment) -> dict[str, Any]:
    """Return the result of the last run, without values that depend on the name or on the time."""
    registry, history = Registry(environment.registry_uri), RunHistory(environment.store, environment.name)
    versions = {version.version: version for version in registry.versions(environment.name)}
    champion = registry.champion(environment.name)
    assert champion is not None
    processed = history.find_processed(champion.tags["recipe"])
    assert processed is not None
    served = served_model(environment)
    return {
        "aliases": registry.aliases(environment.name),
        "trail": [
            (move.alias, move.from_version, move.to_version)
            for move in registry.alias_history(environment.name)
            if move.alias in (CHAMPION, PREVIOUS)
        ],
        "versions": sorted(versions),
        "archives": len(environment.store.keys("archives")),
        "served": served["digest"] == champion.digest,
        "phase": served["phase"],
        "processed": (
            processed.record.verdict,
            processed.record.version,
            processed.record.metrics["accuracy"].value,
        ),
        "response": LocalTarget(environment.state).predict(
            environment.name, {"x": [49, 50]}, champion.digest
        ),
    }


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, registry: Registry, state: Path
) -> tuple[int, dict[str, Any]]:
    """The number of writes of an undisturbed run that replaces the champion, and its outcome."""
    folder = tmp_path_factory.mktemp("undisturbed")
    environment = create_environment("undisturbed", folder, registry, state)
    killed, writes = run_in_process(environment, "strong", STRONG)
    assert not killed
    result = outcome(environment)
    assert (result["aliases"], result["served"]) == ({CHAMPION: "2", PREVIOUS: "1"}, True)
    assert result["phase"] == "serving"
    return writes, result


def test_runs_that_are_killed_at_later_and_later_writes_reach_the_same_state(
    undisturbed: tuple[int, dict[str, Any]], name: str, tmp_path: Path, registry: Registry, state: Path
) -> None:
    """Each run continues from the state of the run before it, until a run ends before its kill.

    The kills are at every second write. `make test-full` tests every write, each from a new state.
    """
    environment = create_environment(name, tmp_path, registry, state)
    kill_at, killed = 1, True
    while killed:
        killed, _ = run_in_process(environment, f"run-{kill_at}", STRONG, kill_at)
        check_invariants(environment)
        kill_at += 2
    assert kill_at > MIN_WRITES
    assert outcome(environment) == undisturbed[1]


@pytest.mark.full
@pytest.mark.parametrize("part", range(PARTS))
def test_run_after_a_kill_at_any_write_reaches_the_same_state(
    undisturbed: tuple[int, dict[str, Any]],
    name: str,
    tmp_path: Path,
    registry: Registry,
    state: Path,
    part: int,
) -> None:
    writes, expected = undisturbed
    for kill_at in range(1 + part, writes + 1, PARTS):
        folder = tmp_path / str(kill_at)
        environment = create_environment(f"{name}-at-{kill_at}", folder, registry, state)
        killed, _ = run_in_process(environment, "killed", STRONG, kill_at)
        assert killed, f"write {kill_at} of {writes}"
        check_invariants(environment)
        killed, _ = run_in_process(environment, "second", STRONG)
        assert not killed
        assert outcome(environment) == expected, f"killed at write {kill_at} of {writes}"
