"""The settings of new pods: from the ConfigMap, or from the running pods of each deployment target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from continuous_training.core.serving_settings import ServingSettings
from continuous_training.core.settings import Settings
from continuous_training.operations.pod_settings import with_pod_settings_of_cluster
from tests.compatibility import kubernetes_api
from tests.compatibility.earlier_version import read_document
from tests.compatibility.kubernetes_api import NAMESPACE, Api

STORE = "s3://models/ct?endpoint=store:9000"
LAPTOP = ServingSettings(
    namespace=NAMESPACE,
    image="registry.example/other:1.0",
    torchserve_image="registry.example/other-torchserve:1.0",
    store="s3://models/ct?endpoint=127.0.0.1:9000",
    replicas=3,
    max_replicas=5,
    cpu="3",
    memory="9Gi",
    canary=20,
)
RUNNING = replace(
    LAPTOP,
    image="registry.example/serving@sha256:" + "cd" * 32,
    store=STORE,
    replicas=2,
    max_replicas=4,
    cpu="250m",
    memory="512Mi",
)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with kubernetes_api.serve(Api(tmp_path)) as api:
        kubernetes_api.kubeconfig(api, tmp_path / "kubeconfig")
        yield api


def resolve(target: str, tmp_path: Path) -> tuple[ServingSettings, list[str]]:
    """Return the settings of new pods without the kubeconfig, and the reported differences."""
    messages: list[str] = []
    serving = replace(LAPTOP, kubeconfig=str(tmp_path / "kubeconfig"))
    settings = Settings(tmp_path, "", "", tmp_path, target=target, serving=serving)
    result = with_pod_settings_of_cluster(settings, "digits", messages.append)
    return replace(result.serving, kubeconfig=""), messages


def recorded(target: str) -> list[Any]:
    document = read_document(f"cluster/{target}.json")
    return list(document["settled"])


@pytest.mark.parametrize("target", ["kubernetes", "kserve"])
def test_without_a_config_map_the_settings_are_those_of_the_running_pods(
    target: str, api: Api, tmp_path: Path
) -> None:
    api.load(recorded(target))
    serving, messages = resolve(target, tmp_path)
    assert serving == RUNNING
    assert (
        f"CT_SERVING_STORE: {STORE} of the running pods, not {LAPTOP.store} of this environment" in messages
    )
    assert len(messages) == 6


def test_the_config_map_overrides_environment_and_running_pods(api: Api, tmp_path: Path) -> None:
    data = {"CT_STORE": STORE, "CT_SERVING_IMAGE": RUNNING.image, "CT_SERVING_CPU": "0.25"}
    data |= {"CT_SERVING_MEMORY": "1024Mi", "CT_CANARY": "0"}
    metadata = {"name": "continuous-training", "resourceVersion": "1"}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    api.load([*recorded("kubernetes"), config_map])
    serving, messages = resolve("kubernetes", tmp_path)
    # The canary determines the procedure of this command and not the pods.
    assert serving == replace(RUNNING, torchserve_image="", cpu="0.25", memory="1024Mi")
    assert messages[-1] == "CT_SERVING_MEMORY: 1024Mi for new pods, 512Mi in the running ones"
    assert not any("CT_SERVING_CPU" in message and "running" in message for message in messages)


def test_without_either_the_settings_are_unchanged(api: Api, tmp_path: Path) -> None:
    assert resolve("kubernetes", tmp_path) == (LAPTOP, [])
