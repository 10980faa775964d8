"""A rollout of the former version that was killed half way is settled by the next one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters.local_registry import open_registry

from .conftest import NextRun
from .former import ask, copy, environment, json_of, python

FORMER = "4e34294da0db1293c089618ca01a39e50456d5722fa7843856d12cd680b26552"
CHALLENGER = "569240bfb5b21d997ddd77cabed74946a9e7f3260305837daad0d1a0ff1b4940"

POINTS = ("promoted", "confirmed")
"""Where deploy-serving was killed, and the server with it:

promoted    the champion's alias has moved; the server has not confirmed the version
confirmed   the server has confirmed the version; the store's aliases and records are missing

The directory `moving` is for the test of a whole run: the challenger answered on trial, and the registry's
trail says that the champion moves; the alias does not yet.
"""

EXPECTED = {
    "promoted": (FORMER, CHALLENGER),
    "confirmed": (CHALLENGER, CHALLENGER),
}
"""What a server that is started again serves, and the registry's champion."""


@dataclass(frozen=True)
class Settled:
    """What was there before the next deploy-serving, and what is there after it."""

    before: dict[str, Any]
    after: dict[str, Any]
    answered: str


@pytest.fixture(scope="module")
def settled(interrupted: Path, local: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Settled]:
    """The result of deploy-serving on a copy of each state directory."""
    folder = tmp_path_factory.mktemp("settled")
    with ThreadPoolExecutor(2) as pool:
        runs = {
            point: pool.submit(settle, interrupted / point, folder / point, str(local / "ours"))
            for point in POINTS
        }
    return {point: run.result() for point, run in runs.items()}


def settle(source: Path, state: Path, ours: str) -> Settled:
    """Run deploy-serving again on what the killed run had archived, and look before and after it."""
    copy(source, state)
    (archive,) = (
        path.parent
        for path in state.glob("runs/*/artifacts/*/archive/archived/archived.json")
        if CHALLENGER in path.read_text()
    )
    # One server of the registry for all commands: each would start its own.
    with open_registry(f"sqlite:///{state}/mlflow/mlflow.db") as registry:
        env = environment(CT_STATE=str(state), MLFLOW_TRACKING_URI=registry.uri, PYTHONPATH=ours)
        try:
            before = json_of("pipelines.status", env=env, codes=(0, 3))
            python(
                "components.deploy_serving",
                "--archive",
                archive,
                "--output",
                state / "deployed.json",
                env=env,
            )
            after = json_of("pipelines.status", env=env)
            answered = ask(after["server"]["url"], "wine").headers["x-model-digest"]
        finally:
            python("serving", "stop", "--state", state)
    return Settled(before, after, answered)


@pytest.mark.parametrize("point", POINTS)
def test_status_shows_what_is_not_settled(settled: dict[str, Settled], point: str) -> None:
    (row,) = settled[point].before["workloads"]
    served, champion = EXPECTED[point]
    assert (row["served"]["digest"], row["champion"]["digest"]) == (served, champion)
    assert row["agree"] is (served == champion)
    if served != champion:
        assert row["mend"] == "python -m pipelines.rollback --workload wine --to 2"


@pytest.mark.parametrize("point", POINTS)
def test_the_next_deploy_serving_finishes_the_rollout(settled: dict[str, Settled], point: str) -> None:
    after = settled[point]
    assert after.answered == CHALLENGER
    (row,) = after.after["workloads"]
    assert (row["agree"], row["champion"]["version"], row["champion"]["digest"]) == (True, "2", CHALLENGER)
    assert row["previous"] == "1"
    assert (row["served"]["digest"], row["served"]["phase"]) == (CHALLENGER, "serving")


def test_the_next_run_takes_up_what_the_killed_run_left(next_run: NextRun) -> None:
    state, result = next_run.state, next_run.result
    assert result["verdict"] == "promoted"
    answer = ask(result["endpoint"].removesuffix("/predict/wine"), "wine")
    assert answer.headers["x-model-digest"] == result["digest"]
    events = json_of("pipelines.history", "--state", state, "--workload", "wine")["events"]
    assert [(event["kind"], event["champion"]) for event in events] == [
        ("promoted", "1"),
        ("promoted", result["version"]),
    ]
