"""Canaries in Standard mode: the pods of the trial share the traffic of the endpoint's Service."""

from __future__ import annotations

from pathlib import Path

import pytest

from continuous_training.adapters.kubernetes.access_reviews import impersonated, user_of
from continuous_training.adapters.kubernetes.resources import ENDPOINT_SLICE
from continuous_training.core.errors import RolloutReverted
from continuous_training.rollout.kubernetes.readiness import label_selector
from continuous_training.rollout.kubernetes.required_permissions import REQUIRED_PERMISSIONS
from continuous_training.rollout.kubernetes.serving_objects import MODEL_LABEL, Manifest
from tests.continuous_training.serving.toy_models import make_archive

from ..cluster_namespace import ACCOUNT, role_rules
from ..load_generator import generate_load
from .kserve_namespace import KServeNamespace
from .rollouts import check_served, find_trials, get_service

pytestmark = pytest.mark.usefixtures("short_grace_periods")


def canary_slices(namespace: KServeNamespace, model: str) -> list[Manifest]:
    """Return the EndpointSlices of a model that Kubernetes does not manage."""
    manager = "endpointslice.kubernetes.io/managed-by=continuous-training"
    return namespace.cluster.find(ENDPOINT_SLICE, f"{manager},{label_selector({MODEL_LABEL: model})}")


def test_canary_is_reverted_or_promoted_by_its_traffic(namespace: KServeNamespace, tmp_path: Path) -> None:
    name, request = "shared", {"x": [7.0]}
    first, correct = (make_archive(tmp_path, name=name, scale=scale) for scale in (2, 3))
    # This version answers its golden requests, but fails on the requests of the load.
    failing = make_archive(tmp_path, name=name, scale=4, fails_on=7.0)
    namespace.deploy(first)
    before = get_service(namespace, name)
    namespace.create_account(role_rules(REQUIRED_PERMISSIONS["kserve"]))
    target = namespace.target(
        impersonated(namespace.cluster, user_of(namespace.name, ACCOUNT)), canary=50, canary_seconds=12
    )

    with (
        generate_load(namespace, name, request, f"{name}-predictor") as load,
        pytest.raises(RolloutReverted, match=r"the canary was reverted: the canary had ") as raised,
    ):
        namespace.deploy(failing, pytest.fail, target=target)
    assert f"the previous version {first.digest[:12]} answers again" in str(raised.value)
    assert first.digest in load.digests
    assert load.errors, "the canary received no request"
    assert all(error.startswith("500") for error in load.errors)
    assert get_service(namespace, name)["metadata"]["generation"] == before["metadata"]["generation"]
    assert not canary_slices(namespace, name)
    check_served(namespace, first)

    with generate_load(namespace, name, request, f"{name}-predictor") as load:
        namespace.deploy(correct, canary=50, canary_seconds=3)
    assert load.errors == []
    assert set(load.digests) == {first.digest, correct.digest}
    messages = "\n".join(namespace.messages)
    assert f"canary: shared {correct.digest[:12]} receives 50 % of the traffic (1 of 2 pods)" in messages
    assert not canary_slices(namespace, name)
    check_served(namespace, correct)


def test_next_rollout_ends_the_canary_of_a_rollout_that_died(
    namespace: KServeNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (make_archive(tmp_path, name="stray", scale=scale) for scale in (2, 3))
    namespace.deploy(first)
    namespace.store_archive(second)
    target = namespace.target(canary=50)

    class Killed(BaseException):
        """The end of the process, after which nothing is undone."""

    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(target, "wait_in_canary", die)
    with pytest.raises(Killed), target.rollout_lock("stray", namespace.progress):
        target.begin_trial("stray", second.path, second.digest)
    (item,) = canary_slices(namespace, "stray")
    (endpoint,) = item["endpoints"]
    assert endpoint["conditions"]["ready"] is True
    assert find_trials(namespace, "stray")

    with namespace.target().rollout_lock("stray", namespace.progress):
        assert not canary_slices(namespace, "stray")
        check_served(namespace, first)
