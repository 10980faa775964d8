"""How models are served on a cluster, as the environment says it; and what a target wants of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from continuous_training.core.errors import UserError
from continuous_training.core.settings import ServingSettings, Settings
from continuous_training.rollout.kubernetes.manifests import DeployedVersion
from continuous_training.rollout.kubernetes.service_client import ServiceResponse
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer, TorchServe
from continuous_training.rollout.local import LocalTarget
from continuous_training.rollout.open_target import open_target

FILLED = {"image": "registry/serving@sha256:0", "store": "s3://models/ct?endpoint=minio:9000"}


def test_the_defaults() -> None:
    found = Settings.from_environment({"CT_TARGET": "kubernetes", "CT_STORE": "s3://b/p"})
    assert (found.target, found.serving.store) == ("kubernetes", "s3://b/p")
    serving = found.serving
    assert (serving.replicas, serving.max_replicas, serving.canary, serving.deadline) == (2, 4, 0, 600)
    assert (serving.cpu, serving.memory, serving.canary_seconds) == ("250m", "512Mi", 60)


def test_all_of_it_is_read() -> None:
    environment = {
        "CT_TARGET": "kserve",
        "CT_STORE": "s3://a/b",
        "CT_SERVING_STORE": "s3://c/d",
        "CT_SERVING_NAMESPACE": "models",
        "CT_SERVING_IMAGE": "x@sha256:1",
        "CT_TORCHSERVE_IMAGE": "y@sha256:2",
        "CT_SERVING_REPLICAS": "8",
        "CT_SERVING_CPU": "1.5",
        "CT_SERVING_MEMORY": "2Gi",
        "CT_CANARY": "50",
        "CT_CANARY_SECONDS": "10",
        "CT_ROLLOUT_DEADLINE": "30",
        "KUBECONFIG": "/k",
        "CT_CONTEXT": "c",
    }
    assert Settings.from_environment(environment).serving == ServingSettings(
        "models", "x@sha256:1", "y@sha256:2", "s3://c/d", 8, 8, "1.5", "2Gi", 50, 10, 30, "/k", "c"
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CT_TARGET", "openshift", "one of local, kubernetes, kserve, torchserve"),
        ("CT_CANARY", "51", "a percentage from 0"),
        ("CT_CANARY", "a few", "give a whole number"),
        ("CT_CANARY_SECONDS", "0", "must be 1 or more"),
        ("CT_SERVING_REPLICAS", "0", "the fewest must be at least 1"),
        ("CT_SERVING_MAX_REPLICAS", "1", "the most no less than that"),
        ("CT_SERVING_MEMORY", "512 MB", "as Kubernetes does"),
    ],
)
def test_what_cannot_be_is_told(name: str, value: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Settings.from_environment({"CT_TARGET": "kubernetes", name: value})


def test_a_state_folder_that_was_asked_for_is_served_on_this_machine(tmp_path: Path) -> None:
    found = Settings.from_environment({"CT_TARGET": "kubernetes", "CT_CANARY": "nonsense"}, tmp_path)
    assert found.target == "local"
    assert isinstance(open_target(found, None, print), LocalTarget)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": ""}, "CT_SERVING_IMAGE is not set"),
        ({"image": "registry/serving:latest"}, "is no pin"),
        ({"store": "/var/store"}, "model servers on a cluster cannot read the store '/var/store'"),
        ({"store": ""}, r"cannot read the store '\(none\)'"),
    ],
)
def test_a_server_says_what_it_lacks(changes: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ModelServer(ServingSettings(**{**FILLED, **changes}))


def test_torchserve_needs_its_own_image() -> None:
    with pytest.raises(UserError, match="CT_TORCHSERVE_IMAGE is not set"):
        TorchServe(ServingSettings(**FILLED))


def test_the_pod_asks_for_the_version_by_its_whole_digest() -> None:
    pod = ModelServer(ServingSettings(**FILLED)).pod(DeployedVersion("digits", "a" * 64))
    command = pod["containers"][0]["command"]
    assert command[command.index("--model") + 1] == f"digits@{'a' * 64}"
    assert "--management-port" not in command


def test_an_answer_of_ours_says_who_gave_it() -> None:
    server = ModelServer(ServingSettings(**FILLED))
    assert server.response_digest(ServiceResponse(200, {"x-model-digest": "abc"}, b"{}"), "asked") == "abc"
    assert server.response_digest(ServiceResponse(200, {}, b"{}"), "asked") == ""
