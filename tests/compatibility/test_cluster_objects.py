"""Objects that the former version left on a cluster are recognised, and written as it wrote them.

The recordings have whole objects: names, labels, annotations, selectors, and the commands of pods, which are
a public interface (`python -m serving serve` and `python -m serving.fetch`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from . import former, kubernetes_api
from .former import document, json_of, python
from .kubernetes_api import Api, Object

VERSION = document("documents/run-2.json")["digest"]
TARGETS = {
    name: document(f"cluster/{name}.json") for name in ("kubernetes", "kserve", "torchserve", "canary")
}
"""By name: objects (`settled`, `interrupted`), what `status` printed over them, and what commands wrote."""

Command = Callable[[str, str, list[Object]], tuple[Any, list[Object]]]


@pytest.fixture(scope="module")
def command(with_registry: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Run a command over objects of a target; returns what it printed, and what it wrote."""
    folder = tmp_path_factory.mktemp("cluster")
    state = Path(with_registry["CT_STATE"])
    (archive,) = (
        path.parent
        for path in state.glob("runs/digits*/artifacts/*/archive/archived/archived.json")
        if VERSION in path.read_text()
    )
    metrics = (former.FIXTURES / "documents" / "metrics.txt").read_text()

    def run(target: str, verb: str, objects: list[Object]) -> tuple[Any, list[Object]]:
        api = Api(state / "store" / "archives", metrics)
        api.load(objects)
        with kubernetes_api.serve(api):
            config = kubernetes_api.kubeconfig(api, folder / f"{api.url.rpartition(':')[2]}.json")
            env = with_registry | {
                "KUBECONFIG": str(config),
                "CT_TARGET": target.replace("canary", "kubernetes"),
                "CT_SERVING_STORE": "s3://models/ct?endpoint=store:9000",
                "CT_SERVING_IMAGE": "registry.example/serving@sha256:" + "cd" * 32,
                "CT_TORCHSERVE_IMAGE": "registry.example/torchserve@sha256:" + "ef" * 32,
            }
            if verb == "status":
                return json_of("pipelines.status", env=env), []
            if verb == "rollback":
                digits = ("--workload", "digits", "--to", "1")
                return json_of("pipelines.rollback", *digits, env=env), api.writes
            step = ("components.deploy_serving", "--archive", archive)
            done = python(*step, "--output", folder / f"{target}.json", env=env)
            return done.stdout + done.stderr, api.writes

    return run


@pytest.fixture(scope="module")
def results(command: Command) -> dict[tuple[str, str], tuple[Any, list[Object]]]:
    """The result of each command, by target and what the recording calls it."""
    steps = [
        ("kubernetes", "status", "settled"),
        ("kubernetes", "status", "interrupted"),
        ("kubernetes", "resume", "interrupted"),
        ("kserve", "status", "settled"),
        ("kserve", "status", "interrupted"),
        ("kserve", "resume", "interrupted"),
        ("canary", "status", "interrupted"),
        ("canary", "resume", "interrupted"),
        ("torchserve", "deploy", ""),
    ]
    with ThreadPoolExecutor(3) as pool:
        running = {
            (target, f"{objects}_status" if verb == "status" else verb): pool.submit(
                command, target, verb, TARGETS[target][objects] if objects else []
            )
            for target, verb, objects in steps
        }
    found = {key: future.result() for key, future in running.items()}
    # These move the registry's aliases, so they come last.
    for target in ("kubernetes", "kserve"):
        found[target, "rollback"] = command(target, "rollback", TARGETS[target]["settled"])
    return found


def comparable(writes: list[Object]) -> list[Object]:
    """Return the writes without what differs between two runs: the Lease's holder and times."""
    found = copy.deepcopy(writes)
    for write in found:
        body = write["body"]
        if body and write["object"].startswith("leases/"):
            body["metadata"] = {"name": body["metadata"]["name"]}
            if body["spec"].get("holderIdentity"):
                body["spec"]["holderIdentity"] = "HOLDER"
            for key in ("acquireTime", "renewTime"):
                body["spec"][key] = "TIME"
        annotations = (body or {}).get("metadata", {}).get("annotations", {})
        if "continuous-training/former" in annotations:
            # JSON, whose spaces and order do not matter.
            annotations["continuous-training/former"] = json.loads(annotations["continuous-training/former"])
    return found


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("kubernetes", "settled_status"),
        ("kubernetes", "interrupted_status"),
        ("kserve", "settled_status"),
        ("kserve", "interrupted_status"),
        ("canary", "interrupted_status"),
    ],
)
def test_status_recognises_what_is_served(results: Any, target: str, key: str) -> None:
    now, then = results[target, key][0], TARGETS[target][key]
    assert now["server"] == then["server"]
    for row, recorded in zip(now["workloads"], then["workloads"], strict=True):
        for part in ("workload", "endpoint", "served", "agree"):
            assert row[part] == recorded[part], part
        assert set(row) == set(recorded)


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("kubernetes", "resume"),
        ("kubernetes", "rollback"),
        ("kserve", "resume"),
        ("kserve", "rollback"),
        ("canary", "resume"),
        ("torchserve", "deploy"),
    ],
)
def test_a_rollout_writes_the_same_objects(results: Any, target: str, key: str) -> None:
    now, then = comparable(results[target, key][1]), comparable(TARGETS[target][key])
    assert [f"{one['method']} {one['object']}" for one in now] == [
        f"{one['method']} {one['object']}" for one in then
    ]
    for write, recorded in zip(now, then, strict=True):
        assert write["body"] == recorded["body"], write["object"]


@pytest.mark.parametrize("target", ["kubernetes", "kserve", "canary"])
def test_the_lease_of_a_dead_rollout_is_taken_over(results: Any, target: str) -> None:
    output = results[target, "resume"][0]
    assert "deploy-serving-of-the-former-version" in output
    # The former holder counts as one transition.
    (lease,) = (one for one in TARGETS[target]["interrupted"] if one["kind"] == "Lease")
    taken = results[target, "resume"][1][0]["body"]["spec"]
    assert taken["leaseTransitions"] == lease["spec"]["leaseTransitions"] + 1


@pytest.mark.parametrize("target", ["kubernetes", "kserve"])
def test_a_rollback_reports_the_same(results: Any, target: str) -> None:
    now, then = results[target, "rollback"][0], TARGETS[target]["rollback_output"]
    assert set(now) == set(then)
    assert now["to"] == then["to"]
    assert now["endpoint"] == then["endpoint"]
