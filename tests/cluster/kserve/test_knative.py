"""Rollouts on KServe in serverless mode."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from continuous_training.adapters.kubernetes.resources import CONFIG_MAP
from continuous_training.core.errors import (
    RolloutReverted,
)
from continuous_training.rollout.kserve import deployment_mode
from continuous_training.rollout.kserve.deployment_mode import MODE_ANNOTATION
from tests.continuous_training.serving.toy_models import make_archive

from ..cluster_namespace import MISSING_IMAGE, ClusterNamespace
from ..load_generator import generate_load
from .conftest import skip_if_kserve_is_installed
from .kserve_namespace import KServeNamespace, simulated_kserve
from .rollouts import (
    check_served,
    failed_rollout,
    find_trials,
    get_service,
)
from .simulated_controller import SimulatedController

pytestmark = pytest.mark.usefixtures("short_grace_periods")


@pytest.fixture
def knative_simulation(
    own_namespace: ClusterNamespace, installed_crd: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[KServeNamespace, SimulatedController]]:
    """A namespace in Knative mode, which KServe's ConfigMap selects."""
    skip_if_kserve_is_installed(own_namespace)
    data = {"deploy": '{"defaultDeploymentMode": "Knative"}'}
    manifest = {"metadata": {"name": deployment_mode.CONFIG_MAP_NAME}, "data": data}
    own_namespace.cluster.apply(CONFIG_MAP, manifest)
    namespaces = ("no-such-namespace", own_namespace.name)
    monkeypatch.setattr(deployment_mode, "CONFIG_MAP_NAMESPACES", namespaces)
    with simulated_kserve(own_namespace, "Knative") as simulation:
        yield simulation


@pytest.fixture
def knative_namespace(
    knative_simulation: tuple[KServeNamespace, SimulatedController],
) -> KServeNamespace:
    return knative_simulation[0]


def test_canary_in_knative_mode_is_reverted_or_promoted_by_its_traffic(
    knative_namespace: KServeNamespace, tmp_path: Path
) -> None:
    namespace, name, request = knative_namespace, "shared", {"x": [7.0]}
    first, correct = (make_archive(tmp_path, name=name, scale=scale) for scale in (2, 3))
    # This version answers its golden requests, but fails on the requests of the load.
    failing = make_archive(tmp_path, name=name, scale=4, fails_on=7.0)
    namespace.deploy(first)
    service = get_service(namespace, name)
    assert service["metadata"]["annotations"][MODE_ANNOTATION] == "Knative"
    assert service["spec"]["predictor"]["containers"][0]["ports"][0]["name"] == "http1"

    with generate_load(namespace, name, request) as load, pytest.raises(RolloutReverted) as raised:
        namespace.deploy(failing, pytest.fail, canary=50, canary_seconds=12)
    assert "the canary was reverted: the canary had " in str(raised.value)
    assert f"the previous version {first.digest[:12]} answers again" in str(raised.value)
    assert first.digest in load.digests
    assert all(error.startswith("500") for error in load.errors)
    check_served(namespace, first)

    with generate_load(namespace, name, request) as load:
        namespace.deploy(correct, canary=50, canary_seconds=3)
    assert load.errors == []
    assert set(load.digests) == {first.digest, correct.digest}
    assert "canary: shared " in "\n".join(namespace.messages)
    check_served(namespace, correct)
    assert "canaryTrafficPercent" not in get_service(namespace, name)["spec"]["predictor"]
    expected = f"shared.{namespace.name}.svc.cluster.local/predict/shared"
    assert namespace.target().url(name).endswith(expected)


def test_missing_image_in_knative_mode_reverts_the_rollout(
    knative_namespace: KServeNamespace, tmp_path: Path
) -> None:
    served = make_archive(tmp_path, name="quiet")
    knative_namespace.deploy(served)
    archive = make_archive(tmp_path, name="quiet", scale=3)
    message = failed_rollout(knative_namespace, archive, served, image=MISSING_IMAGE)
    assert re.search(r"quiet-t\w{4} did not become ready: ", message)
    assert "ImagePull" in message


def test_missing_knative_ends_the_rollout_with_the_event_of_the_controller(
    knative_simulation: tuple[KServeNamespace, SimulatedController], tmp_path: Path
) -> None:
    namespace, controller = knative_simulation
    controller.is_knative_installed = False
    start = time.monotonic()
    with pytest.raises(RolloutReverted) as raised:
        namespace.deploy(make_archive(tmp_path, name="absent"), pytest.fail)
    assert "KServe reports ServerlessModeRejected: " in str(raised.value)
    assert time.monotonic() - start < namespace.settings.deadline / 2
    assert namespace.service("absent") is None
    assert not find_trials(namespace, "absent")
