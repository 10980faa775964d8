"""The settings of serving on a cluster, and the serving runtimes that use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from continuous_training.core.errors import UserError
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.core.settings import Settings
from continuous_training.rollout.kubernetes.service_client import ServiceResponse
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer, TorchServe
from continuous_training.rollout.local import LocalTarget
from continuous_training.rollout.open_target import open_target
from continuous_training.rollout.trial import DeployedVersion

VALID: dict[str, Any] = {
    "image": "registry/serving@sha256:0",
    "store": "s3://models/ct?endpoint=minio:9000",
}


def test_defaults() -> None:
    settings = Settings.from_environment({"CT_TARGET": "kubernetes", "CT_STORE": "s3://b/p"})
    assert (settings.target, settings.serving.store) == ("kubernetes", "s3://b/p")
    serving = settings.serving
    assert (serving.replicas, serving.max_replicas, serving.canary, serving.deadline) == (2, 4, 0, 600)
    assert (serving.cpu, serving.memory, serving.canary_seconds) == ("250m", "512Mi", 60)


def test_environment_variables() -> None:
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
    ("name", "value"),
    [
        ("CT_TARGET", "openshift"),
        ("CT_CANARY", "51"),
        ("CT_CANARY", "a few"),
        ("CT_CANARY_SECONDS", "0"),
        ("CT_SERVING_REPLICAS", "0"),
        ("CT_SERVING_MAX_REPLICAS", "1"),
        ("CT_SERVING_MEMORY", "512 MB"),
    ],
)
def test_invalid_setting_is_a_user_error_with_its_name(name: str, value: str) -> None:
    with pytest.raises(UserError, match=name):
        Settings.from_environment({"CT_TARGET": "kubernetes", name: value})


def test_state_directory_selects_the_local_target(tmp_path: Path) -> None:
    settings = Settings.from_environment({"CT_TARGET": "kubernetes", "CT_CANARY": "nonsense"}, tmp_path)
    assert settings.target == "local"
    assert isinstance(open_target(settings, None, print), LocalTarget)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": ""}, "CT_SERVING_IMAGE is not set"),
        ({"image": "registry/serving:latest"}, "is not pinned"),
        ({"store": "/var/store"}, "model servers on a cluster cannot read the store '/var/store'"),
        ({"store": ""}, r"cannot read the store '\(none\)'"),
    ],
)
def test_missing_setting_of_the_model_server_is_a_user_error(changes: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ModelServer(ServingSettings(**{**VALID, **changes}))


def test_torchserve_needs_its_own_image() -> None:
    with pytest.raises(UserError, match="CT_TORCHSERVE_IMAGE is not set"):
        TorchServe(ServingSettings(**VALID))


def test_pod_serves_the_version_by_its_full_digest() -> None:
    pod = ModelServer(ServingSettings(**VALID)).pod(DeployedVersion("digits", "a" * 64))
    command = pod["containers"][0]["command"]
    assert command[command.index("--model") + 1] == f"digits@{'a' * 64}"
    assert "--management-port" not in command


def test_response_of_the_model_server_contains_its_digest() -> None:
    runtime = ModelServer(ServingSettings(**VALID))
    assert (
        runtime.response_digest(ServiceResponse(200, {"x-model-digest": "abc"}, b"{}"), "expected") == "abc"
    )
    assert runtime.response_digest(ServiceResponse(200, {}, b"{}"), "expected") == ""
