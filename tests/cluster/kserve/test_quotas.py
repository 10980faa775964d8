"""Rollouts on KServe in a namespace whose quota becomes too small in the middle of the rollout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from continuous_training.artifacts.archive_writer import Archive
from continuous_training.core.errors import PipelineError, RolloutReverted, UnsettledError
from continuous_training.rollout.kubernetes import pod_creation, readiness
from tests.continuous_training.serving.toy_models import make_archive

from ..cluster_namespace import ClusterNamespace
from ..load_generator import Load, generate_load
from ..quotas import before, count_pods, limit_pods, lose_a_pod, remove_limit
from .kserve_namespace import KServeNamespace, simulated_kserve
from .rollouts import check_served, find_trials, get_service

NAME, REPLICAS = "quota", 2

pytestmark = pytest.mark.usefixtures("short_grace_periods")


@pytest.fixture
def namespace(own_namespace: ClusterNamespace, installed_crd: None) -> Iterator[KServeNamespace]:
    """A namespace of this test only, because a quota counts the pods of all models."""
    with simulated_kserve(own_namespace) as (namespace, _):
        yield namespace


@pytest.fixture
def versions(tmp_path: Path) -> list[Archive]:
    return [make_archive(tmp_path, name=NAME, scale=scale) for scale in (2, 3)]


@pytest.fixture
def load(namespace: KServeNamespace, versions: list[Archive]) -> Iterator[Load]:
    """Requests to the first version during the test, none of which may fail."""
    namespace.deploy(versions[0], replicas=REPLICAS)
    with generate_load(namespace, NAME, {"x": [1.0]}, f"{NAME}-predictor") as load:
        yield load
    assert load.errors == []


def test_quota_before_the_switch_reverts_the_rollout(
    namespace: KServeNamespace, versions: list[Archive], load: Load
) -> None:
    first, second = versions
    target = namespace.target(replicas=REPLICAS)
    before(target, "switch", lambda: limit_pods(namespace, count_pods(namespace)))
    with pytest.raises(RolloutReverted, match="exceeded quota: tight") as raised:
        namespace.deploy(second, pytest.fail, target=target)
    assert f"the previous version {first.digest[:12]} answers again" in str(raised.value)
    check_served(namespace, first)
    remove_limit(namespace)
    namespace.deploy(second, replicas=REPLICAS)
    check_served(namespace, second)


def test_lost_server_of_the_previous_version_gets_the_room_of_the_trial(
    namespace: KServeNamespace, versions: list[Archive], load: Load
) -> None:
    """The quota has room for the previous version and for the caller, but not for the trial."""
    first, second = versions

    def lose_room() -> None:
        limit_pods(namespace, REPLICAS + 1)
        lose_a_pod(namespace, first)

    target = before(namespace.target(replicas=REPLICAS), "switch", lose_room)
    with pytest.raises(RolloutReverted, match="exceeded quota: tight") as raised:
        namespace.deploy(second, pytest.fail, target=target)
    assert f"the previous version {first.digest[:12]} answers again" in str(raised.value)
    check_served(namespace, first)


def test_previous_version_is_restored_without_room_for_an_additional_server(
    namespace: KServeNamespace, versions: list[Archive], load: Load
) -> None:
    """The quota has room for two servers and for the caller, and the new version has both servers."""
    first, second = versions

    def lose_room() -> None:
        limit_pods(namespace, REPLICAS + 1)
        raise RolloutReverted("the registry failed")

    with pytest.raises(RolloutReverted, match=r"the previous version \w+ answers again, as before"):
        namespace.deploy(second, lose_room, replicas=REPLICAS)
    assert "restoring quota with one fewer" in "\n".join(namespace.messages)
    strategy = get_service(namespace, NAME)["spec"]["predictor"]["deploymentStrategy"]
    assert strategy["rollingUpdate"]["maxUnavailable"] == 0
    check_served(namespace, first)


def test_restore_that_a_quota_prevented_is_finished_after_its_end(
    namespace: KServeNamespace, versions: list[Archive], load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes itself would try again late, because its last attempt failed."""
    first, second = versions

    def lose_room() -> None:
        limit_pods(namespace, 1)
        raise PipelineError("the registry failed")

    # Each attempt increases the delay of Kubernetes.
    monkeypatch.setattr(pod_creation, "RETRY_INTERVAL", 0.5)
    monkeypatch.setattr(readiness, "RESTORE_GRACE", 10.0)
    with pytest.raises(UnsettledError, match=r"was not verified to answer again: .*exceeded quota") as raised:
        namespace.deploy(second, lose_room, replicas=REPLICAS)
    assert raised.value.exit_code == 6
    assert namespace.serves(second)
    (trial,) = find_trials(namespace, NAME)
    assert not namespace.deployment_exists(f"{trial['metadata']['name']}-predictor")
    remove_limit(namespace)
    with namespace.target(replicas=REPLICAS).rollout_lock(NAME, namespace.progress):
        check_served(namespace, first)
    assert not [message for message in namespace.messages if "the rollout continues" in message]
