"""A canary with real traffic: promoted, withdrawn for its faults, and judged without any traffic."""

from __future__ import annotations

from pathlib import Path

import pytest

from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, SERVICE
from continuous_training.core.errors import RolloutReverted
from continuous_training.rollout.kubernetes.manifests import CANARY_ANNOTATION, DeployedVersion
from tests.continuous_training.serving.toy_models import make_archive

from .callers import calling
from .place import Place

NAME = "canary"


def test_a_canary_is_withdrawn_or_promoted_by_its_share_of_the_traffic(shared: Place, tmp_path: Path) -> None:
    one = make_archive(tmp_path, name=NAME)
    # It answers its golden requests; what callers send is too much for it.
    bad = make_archive(tmp_path, name=NAME, scale=3, fails_on=7.0)
    good = make_archive(tmp_path, name=NAME, scale=4)
    shared.deploy(one)
    with calling(shared, NAME, {"x": [7.0]}) as called, pytest.raises(RolloutReverted) as told:
        shared.deploy(bad, pytest.fail, canary=50, canary_seconds=12)
    message = str(told.value)
    assert "the canary was withdrawn: the canary had " in message
    assert "by chance that happens with a probability of" in message
    assert f"the former version {one.digest[:12]} answers again" in message
    assert one.digest in called.answered
    assert all("this row fails" in fault or fault.startswith("500") for fault in called.faults)
    assert shared.answers(one)
    assert shared.cluster.get(DEPLOYMENT, DeployedVersion(NAME, bad.digest).deployment_name) is None

    with calling(shared, NAME, {"x": [7.0]}) as called:
        shared.deploy(good, canary=50, canary_seconds=3)
        assert shared.answers(good)
    assert called.faults == []
    assert set(called.answered) == {one.digest, good.digest}
    assert "canary: canary-" in "\n".join(shared.told)
    promoted = next(line for line in reversed(shared.told) if line.startswith("canary: promoted"))
    assert "0 faults in " in promoted
    assert "too little traffic" not in promoted
    service = shared.cluster.get(SERVICE, NAME)
    assert service is not None
    assert CANARY_ANNOTATION not in service["metadata"]["annotations"]
    assert service["spec"]["selector"] == DeployedVersion(NAME, good.digest).pod_labels


def test_without_traffic_the_golden_requests_decide(shared: Place, tmp_path: Path) -> None:
    one = make_archive(tmp_path, name="quiet")
    good = make_archive(tmp_path, name="quiet", scale=3)
    bad = make_archive(tmp_path, name="quiet", scale=4, drifts_after=20)
    shared.deploy(one)
    shared.deploy(good, canary=20, canary_seconds=1)
    assert "too little traffic, so the golden requests decide" in "\n".join(shared.told)
    assert shared.answers(good)
    with pytest.raises(
        RolloutReverted, match="the canary was withdrawn: golden requests are answered wrongly"
    ):
        shared.deploy(bad, pytest.fail, canary=20, canary_seconds=12)
    assert shared.answers(good)
