"""kill -9 at every write of every step, and again: the state is that of a run that nobody disturbed."""

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

from .crashing import Place, in_process

WEAK, STRONG = "70", "50"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a server that no run of these tests starts."""
    folder = tmp_path_factory.mktemp("state")
    daemon.start(folder, free_port())
    yield folder
    daemon.stop(folder)


def place(name: str, folder: Path, registry: Registry, state: Path) -> Place:
    """A place where a weak champion is served already."""
    made = Place(name, folder, registry.uri, state)
    assert in_process(made, "weak", WEAK) == (False, pytest.approx(60, abs=40))
    return made


def check_nothing_is_torn(place: Place) -> None:
    """Hold what must be so at every moment, also just after a death."""
    registry = Registry(place.registry)
    aliases = registry.aliases(place.name)
    versions = {version.version: version for version in registry.versions(place.name)}
    assert CHAMPION in aliases
    for version in aliases.values():
        assert place.store.size(versions[version].archive), "an alias points at a missing archive"
    digests = [version.digest for version in versions.values()]
    assert len(set(digests)) == len(digests) <= 2, "an archive is registered twice"
    served = status(place)
    assert served["digest"] in digests, "the registry does not know what is served"
    if served["digest"] != versions[aliases[CHAMPION]].digest:
        assert served["phase"] == "probation", "what is not champion would stay"


def status(place: Place) -> dict[str, Any]:
    """What the endpoint says of the workload."""
    models = LocalTarget(place.state).endpoint.models()
    return next(model.to_json() for model in models if model.name == place.name)


def outcome(place: Place) -> dict[str, Any]:
    """What the last run came to, in words that do not depend on the workload's name or on time."""
    registry, records = Registry(place.registry), RunHistory(place.store, place.name)
    versions = {version.version: version for version in registry.versions(place.name)}
    champion = registry.champion(place.name)
    assert champion is not None
    settled = records.judged(champion.tags["recipe"])
    assert settled is not None
    served = status(place)
    return {
        "aliases": registry.aliases(place.name),
        "trail": [
            (move["alias"], move["from"], move["to"])
            for move in registry.trail(place.name)
            if move["alias"] in (CHAMPION, PREVIOUS)
        ],
        "versions": sorted(versions),
        "archives": len(place.store.keys("archives")),
        "served": served["digest"] == champion.digest,
        "phase": served["phase"],
        "settled": (settled["verdict"], settled["version"], settled["metrics"]["accuracy"]["value"]),
        "answer": LocalTarget(place.state).predict(place.name, {"x": [49, 50]}, champion.digest),
    }


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, registry: Registry, state: Path
) -> tuple[int, dict[str, Any]]:
    """The number of writes of a run that replaces a champion, and what it comes to."""
    calm = place("undisturbed", tmp_path_factory.mktemp("calm"), registry, state)
    killed, writes = in_process(calm, "strong", STRONG)
    assert not killed
    found = outcome(calm)
    assert (found["aliases"], found["served"]) == ({CHAMPION: "2", PREVIOUS: "1"}, True)
    assert found["phase"] == "serving"
    return writes, found


def test_runs_that_die_one_write_later_each_time_come_to_the_same(
    undisturbed: tuple[int, dict[str, Any]], name: str, tmp_path: Path, registry: Registry, state: Path
) -> None:
    """Each takes up what the one before it left; the first that has no write left to die at is the last.

    Every second write; make test-full goes through each, from a fresh start.
    """
    here = place(name, tmp_path, registry, state)
    at, killed = 1, True
    while killed:
        killed, _ = in_process(here, f"run-{at}", STRONG, at)
        check_nothing_is_torn(here)
        at += 2
    assert at > 40
    assert outcome(here) == undisturbed[1]


PARTS = 8


@pytest.mark.full
@pytest.mark.parametrize("part", range(PARTS))
def test_a_run_that_died_at_any_write_is_made_good_by_the_next(
    undisturbed: tuple[int, dict[str, Any]],
    name: str,
    tmp_path: Path,
    registry: Registry,
    state: Path,
    part: int,
) -> None:
    writes, expected = undisturbed
    for at in range(1 + part, writes + 1, PARTS):
        here = place(f"{name}-at-{at}", tmp_path / str(at), registry, state)
        killed, _ = in_process(here, "dies", STRONG, at)
        assert killed, f"write {at} of {writes}"
        check_nothing_is_torn(here)
        again, _ = in_process(here, "again", STRONG)
        assert not again
        assert outcome(here) == expected, f"killed at write {at} of {writes}"
