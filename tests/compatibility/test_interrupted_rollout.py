"""The next rollout completes a rollout of the earlier version that was killed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.registry import run_registry

from .conftest import NextRun
from .earlier_version import clean_environment, copy_state, predict, run_json, run_module

CHAMPION = "4e34294da0db1293c089618ca01a39e50456d5722fa7843856d12cd680b26552"
CHALLENGER = "569240bfb5b21d997ddd77cabed74946a9e7f3260305837daad0d1a0ff1b4940"

POINTS = ("promoted", "confirmed")
"""The points at which deploy-serving and the server were killed:

promoted    the champion's alias has moved; the server has not confirmed the version
confirmed   the server has confirmed the version; the store's aliases and records are missing

The test of a complete run uses the directory `moving`: the challenger is on trial, and the alias history of
the registry records that the champion alias moves, but the alias has not moved.
"""

EXPECTED = {
    "promoted": (CHAMPION, CHALLENGER),
    "confirmed": (CHALLENGER, CHALLENGER),
}
"""By point: the version that a restarted server serves, and the champion in the registry."""


@dataclass(frozen=True)
class RolloutResult:
    """The status before and after the next deploy-serving, and the digest in the response afterwards."""

    before: dict[str, Any]
    after: dict[str, Any]
    response_digest: str


@pytest.fixture(scope="module")
def results(
    interrupted_rollouts: Path, local_runs: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, RolloutResult]:
    """The result of deploy-serving on a copy of each state directory."""
    folder = tmp_path_factory.mktemp("settled")
    with ThreadPoolExecutor(2) as pool:
        runs = {
            point: pool.submit(
                complete_rollout, interrupted_rollouts / point, folder / point, str(local_runs / "ours")
            )
            for point in POINTS
        }
    return {point: run.result() for point, run in runs.items()}


def complete_rollout(source: Path, state: Path, workloads_path: str) -> RolloutResult:
    """Run deploy-serving on the archive of the killed run, and read the status before and after it."""
    copy_state(source, state)
    (archive,) = (
        path.parent
        for path in state.glob("runs/*/artifacts/*/archive/archived/archived.json")
        if CHALLENGER in path.read_text()
    )
    # The commands share one server of the registry; otherwise, each command starts its own.
    with run_registry(state / "mlflow") as registry:
        env = clean_environment(
            CT_STATE=str(state), MLFLOW_TRACKING_URI=registry.uri, PYTHONPATH=workloads_path
        )
        try:
            before = run_json("pipelines.status", env=env, codes=(0, 3))
            run_module(
                "components.deploy_serving",
                "--archive",
                archive,
                "--output",
                state / "deployed.json",
                env=env,
            )
            after = run_json("pipelines.status", env=env)
            response_digest = predict(after["server"]["url"], "wine").headers["x-model-digest"]
        finally:
            run_module("serving", "stop", "--state", state)
    return RolloutResult(before, after, response_digest)


@pytest.mark.parametrize("point", POINTS)
def test_status_shows_an_incomplete_rollout(results: dict[str, RolloutResult], point: str) -> None:
    (row,) = results[point].before["workloads"]
    served, champion = EXPECTED[point]
    assert (row["served"]["digest"], row["champion"]["digest"]) == (served, champion)
    assert row["agree"] is (served == champion)
    if served != champion:
        assert row["mend"] == "python -m pipelines.rollback --workload wine --to 2"


@pytest.mark.parametrize("point", POINTS)
def test_the_next_deploy_serving_completes_the_rollout(results: dict[str, RolloutResult], point: str) -> None:
    result = results[point]
    assert result.response_digest == CHALLENGER
    (row,) = result.after["workloads"]
    assert (row["agree"], row["champion"]["version"], row["champion"]["digest"]) == (True, "2", CHALLENGER)
    assert row["previous"] == "1"
    assert (row["served"]["digest"], row["served"]["phase"]) == (CHALLENGER, "serving")


def test_the_next_run_succeeds_after_a_killed_run(next_run: NextRun) -> None:
    state, result = next_run.state, next_run.result
    assert result["verdict"] == "promoted"
    response = predict(result["endpoint"].removesuffix("/predict/wine"), "wine")
    assert response.headers["x-model-digest"] == result["digest"]
    events = run_json("pipelines.history", "--state", state, "--workload", "wine")["events"]
    assert [(event["kind"], event["champion"]) for event in events] == [
        ("promoted", "1"),
        ("promoted", result["version"]),
    ]
