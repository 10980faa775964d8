"""Canaries with real traffic: promoted, reverted because of server errors, and decided without traffic."""

from __future__ import annotations

from pathlib import Path

import pytest

from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, SERVICE
from continuous_training.core.errors import RolloutReverted
from continuous_training.rollout.kubernetes.serving_objects import CANARY_ANNOTATION, pod_labels
from continuous_training.rollout.trial import DeployedVersion
from tests.continuous_training.serving.toy_models import make_archive

from .cluster_namespace import ClusterNamespace
from .load_generator import generate_load

NAME = "canary"


def test_canary_is_reverted_or_promoted_by_its_traffic(
    shared_namespace: ClusterNamespace, tmp_path: Path
) -> None:
    namespace = shared_namespace
    first = make_archive(tmp_path, name=NAME)
    # This version answers its golden requests, but fails on the requests of the load.
    failing = make_archive(tmp_path, name=NAME, scale=3, fails_on=7.0)
    correct = make_archive(tmp_path, name=NAME, scale=4)
    namespace.deploy(first)
    with generate_load(namespace, NAME, {"x": [7.0]}) as load, pytest.raises(RolloutReverted) as raised:
        namespace.deploy(failing, pytest.fail, canary=50, canary_seconds=12)
    message = str(raised.value)
    assert "the canary was reverted: the canary had " in message
    assert "Fisher's exact test, p = " in message
    assert f"the previous version {first.digest[:12]} answers again" in message
    assert first.digest in load.digests
    assert all("this row fails" in error or error.startswith("500") for error in load.errors)
    assert namespace.serves(first)
    assert namespace.cluster.get(DEPLOYMENT, DeployedVersion(NAME, failing.digest).deployment_name) is None

    with generate_load(namespace, NAME, {"x": [7.0]}) as load:
        namespace.deploy(correct, canary=50, canary_seconds=3)
        assert namespace.serves(correct)
    assert load.errors == []
    assert set(load.digests) == {first.digest, correct.digest}
    assert "canary: canary-" in "\n".join(namespace.messages)
    promoted = next(line for line in reversed(namespace.messages) if line.startswith("canary: promoted"))
    assert "0 server errors in " in promoted
    assert "too little traffic" not in promoted
    service = namespace.cluster.get(SERVICE, NAME)
    assert service is not None
    assert CANARY_ANNOTATION not in service["metadata"]["annotations"]
    assert service["spec"]["selector"] == pod_labels(DeployedVersion(NAME, correct.digest))


def test_golden_requests_decide_without_traffic(shared_namespace: ClusterNamespace, tmp_path: Path) -> None:
    namespace = shared_namespace
    first = make_archive(tmp_path, name="quiet")
    correct = make_archive(tmp_path, name="quiet", scale=3)
    drifting = make_archive(tmp_path, name="quiet", scale=4, drifts_after=20)
    namespace.deploy(first)
    namespace.deploy(correct, canary=20, canary_seconds=1)
    assert "too little traffic, so the golden requests decide" in "\n".join(namespace.messages)
    assert namespace.serves(correct)
    with pytest.raises(RolloutReverted, match="the canary was reverted: its golden requests failed"):
        namespace.deploy(drifting, pytest.fail, canary=20, canary_seconds=12)
    assert namespace.serves(correct)
