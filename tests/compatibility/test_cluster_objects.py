"""Commands recognize the cluster objects of the earlier version, and write the same objects.

The recordings contain complete objects: names, labels, annotations, selectors, and the commands of pods. The
commands are a public interface (`python -m serving serve` and `python -m serving.fetch`).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from continuous_training.rollout.kserve.inference_service import STOP_ANNOTATION

from . import earlier_version, kubernetes_api
from .earlier_version import read_document, run_json, run_module
from .kubernetes_api import Api, Object

VERSION = read_document("documents/run-2.json")["digest"]
TARGETS = {
    name: read_document(f"cluster/{name}.json") for name in ("kubernetes", "kserve", "torchserve", "canary")
}
"""By target: cluster objects (`settled`, `interrupted`), output of `status`, and writes of commands."""

Command = Callable[[str, str, list[Object]], tuple[Any, list[Object]]]


@pytest.fixture(scope="module")
def command(registry_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A function that runs a command with cluster objects, and returns its output and its writes."""
    folder = tmp_path_factory.mktemp("cluster")
    state = Path(registry_environment["CT_STATE"])
    (archive,) = (
        path.parent
        for path in state.glob("runs/digits*/artifacts/*/archive/archived/archived.json")
        if VERSION in path.read_text()
    )
    metrics = (earlier_version.FIXTURES / "documents" / "metrics.txt").read_text()

    def run(target: str, action: str, objects: list[Object]) -> tuple[Any, list[Object]]:
        api = Api(state / "store" / "archives", metrics)
        api.load(objects)
        with kubernetes_api.serve(api):
            config = kubernetes_api.kubeconfig(api, folder / f"{api.url.rpartition(':')[2]}.json")
            env = registry_environment | {
                "KUBECONFIG": str(config),
                "CT_TARGET": target.replace("canary", "kubernetes"),
                "CT_SERVING_STORE": "s3://models/ct?endpoint=store:9000",
                "CT_SERVING_IMAGE": "registry.example/serving@sha256:" + "cd" * 32,
                "CT_TORCHSERVE_IMAGE": "registry.example/torchserve@sha256:" + "ef" * 32,
            }
            if action == "status":
                return run_json("pipelines.status", env=env), []
            if action == "rollback":
                digits = ("--workload", "digits", "--to", "1")
                return run_json("pipelines.rollback", *digits, env=env), api.writes
            step = ("components.deploy_serving", "--archive", archive)
            process = run_module(*step, "--output", folder / f"{target}.json", env=env)
            return process.stdout + process.stderr, api.writes

    return run


@pytest.fixture(scope="module")
def results(command: Command) -> dict[tuple[str, str], tuple[Any, list[Object]]]:
    """Output and writes of each command, by target and by the key of the recording."""
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
            (target, f"{objects}_status" if action == "status" else action): pool.submit(
                command, target, action, TARGETS[target][objects] if objects else []
            )
            for target, action, objects in steps
        }
    outputs = {key: future.result() for key, future in running.items()}
    # The rollbacks move the aliases of the registry, so they run last.
    for target in ("kubernetes", "kserve"):
        outputs[target, "rollback"] = command(target, "rollback", TARGETS[target]["settled"])
    return outputs


def ends_the_servers_of_a_trial(write: Object) -> bool:
    """Return whether a write ends the servers of a trial before its deletion, which is new."""
    annotations = ((write["body"] or {}).get("metadata") or {}).get("annotations") or {}
    return {"continuous-training/former", STOP_ANNOTATION} <= set(annotations)


def comparable(writes: list[Object]) -> list[Object]:
    """Return the writes without the values that differ between runs: holder and times of the Lease."""
    result = [write for write in copy.deepcopy(writes) if not ends_the_servers_of_a_trial(write)]
    for write in result:
        body = write["body"]
        if body and write["object"].startswith("leases/"):
            body["metadata"] = {"name": body["metadata"]["name"]}
            if body["spec"].get("holderIdentity"):
                body["spec"]["holderIdentity"] = "HOLDER"
            for key in ("acquireTime", "renewTime"):
                body["spec"][key] = "TIME"
        metadata = (body or {}).get("metadata", {})
        # Each trial of an InferenceService has a name of its own now, and the label was added.
        write["object"] = re.sub(r"-t[0-9a-f]{4}$", "-trial", write["object"])
        if write["object"] == "inferenceservices/digits-trial" and body:
            metadata["name"] = "digits-trial"
        metadata.get("labels", {}).pop("continuous-training/template", None)
        annotations = metadata.get("annotations", {})
        if "continuous-training/former" in annotations:
            # The annotation is JSON: its spaces and the order of its keys have no meaning.
            annotations["continuous-training/former"] = json.loads(annotations["continuous-training/former"])
    return result


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
def test_status_shows_the_recorded_served_versions(results: Any, target: str, key: str) -> None:
    current, recorded = results[target, key][0], TARGETS[target][key]
    assert current["server"] == recorded["server"]
    for row, recorded_row in zip(current["workloads"], recorded["workloads"], strict=True):
        for part in ("workload", "endpoint", "served", "agree"):
            assert row[part] == recorded_row[part], part
        assert set(row) >= set(recorded_row), "a key of --json is missing"


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
    current, recorded = comparable(results[target, key][1]), comparable(TARGETS[target][key])
    assert [f"{item['method']} {item['object']}" for item in current] == [
        f"{item['method']} {item['object']}" for item in recorded
    ]
    for write, recorded_write in zip(current, recorded, strict=True):
        assert write["body"] == recorded_write["body"], write["object"]


@pytest.mark.parametrize("target", ["kubernetes", "kserve", "canary"])
def test_the_lease_of_a_dead_rollout_is_taken_over(results: Any, target: str) -> None:
    output = results[target, "resume"][0]
    assert "deploy-serving-of-the-former-version" in output
    # The change of the holder is one transition.
    (lease,) = (item for item in TARGETS[target]["interrupted"] if item["kind"] == "Lease")
    spec = results[target, "resume"][1][0]["body"]["spec"]
    assert spec["leaseTransitions"] == lease["spec"]["leaseTransitions"] + 1


@pytest.mark.parametrize("target", ["kubernetes", "kserve"])
def test_a_rollback_prints_the_recorded_result(results: Any, target: str) -> None:
    current, recorded = results[target, "rollback"][0], TARGETS[target]["rollback_output"]
    assert set(current) == set(recorded)
    assert current["to"] == recorded["to"]
    assert current["endpoint"] == recorded["endpoint"]
