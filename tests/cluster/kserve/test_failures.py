"""Failed rollouts on KServe: the previous version answers again, and the error states the cause."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from continuous_training.artifacts.archive_writer import Archive
from continuous_training.core.errors import (
    PipelineError,
    RolloutReverted,
)
from continuous_training.rollout.kserve import controller_problems, cpu_limit
from continuous_training.rollout.kserve.inference_service import (
    INFERENCE_SERVICE,
    STOP_ANNOTATION,
    restorable_manifest,
)
from tests.continuous_training.serving.toy_models import make_archive

from ..cluster_namespace import MISSING_IMAGE, QUOTA
from ..policies import denied_changes
from .kserve_namespace import KServeNamespace
from .rollouts import (
    check_served,
    failed_rollout,
    find_trials,
    get_service,
)
from .simulated_controller import SimulatedController

UNKNOWN_IMAGE = "no.registry.example/serving:gone"

pytestmark = pytest.mark.usefixtures("short_grace_periods")


def test_version_with_a_missing_image_receives_no_traffic(
    namespace: KServeNamespace, served: Archive, tmp_path: Path
) -> None:
    archive = make_archive(tmp_path, name="firm", scale=3)
    before = get_service(namespace, "firm")
    message = failed_rollout(namespace, archive, served, image=MISSING_IMAGE)
    assert re.search(r"firm-t\w{4} did not become ready: ", message)
    assert "ImagePull" in message
    assert MISSING_IMAGE in message
    assert "last events: " in message
    after = get_service(namespace, "firm")
    assert before["metadata"]["generation"] == after["metadata"]["generation"]


def test_crash_because_of_wrong_golden_responses_reverts_the_rollout(
    namespace: KServeNamespace, served: Archive, tmp_path: Path
) -> None:
    archive = make_archive(tmp_path, name="firm", scale=4, wrong=True)
    message = failed_rollout(namespace, archive, served)
    assert re.search(r"firm-t\w{4} did not become ready: ", message)
    assert " ended " in message
    assert "last log lines: " in message
    assert "golden request 1" in message


def test_wrong_responses_of_a_ready_version_revert_the_rollout(
    namespace: KServeNamespace, served: Archive, tmp_path: Path
) -> None:
    archive = make_archive(tmp_path, name="firm", scale=5, drifts_after=8)
    message = failed_rollout(namespace, archive, served)
    assert "its golden requests failed" in message
    assert "expected 5" in message


def test_policy_that_denies_the_end_of_the_trial_does_not_prevent_the_restore(
    namespace: KServeNamespace, served: Archive, tmp_path: Path
) -> None:
    service = restorable_manifest(get_service(namespace, "firm"))
    service["metadata"]["annotations"][STOP_ANNOTATION] = "true"
    allowed = f"!('{STOP_ANNOTATION}' in object.metadata.annotations)"

    def stop() -> None:
        namespace.cluster.apply(INFERENCE_SERVICE, service, dry_run=True)

    archive = make_archive(tmp_path, name="firm", scale=7, drifts_after=8)
    with denied_changes(namespace, INFERENCE_SERVICE, stop, allowed):
        failed_rollout(namespace, archive, served)


def test_condition_ready_is_ignored(
    namespace: KServeNamespace,
    controller: SimulatedController,
    served: Archive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The trial succeeds. The pods of the endpoint do not start, but KServe reports Ready."""
    monkeypatch.setattr(controller_problems, "CONTROLLER_GRACE", 10.0)
    archive, target = make_archive(tmp_path, name="firm", scale=6), namespace.target()
    controller.image_overrides["firm", archive.digest[:12]] = UNKNOWN_IMAGE
    conditions: list[Any] = []

    def progress(message: str) -> None:
        if message.startswith("waiting for firm: ") and UNKNOWN_IMAGE in message:
            conditions.extend(get_service(namespace, "firm")["status"]["conditions"])

    target.progress = progress
    with pytest.raises(RolloutReverted) as raised:
        namespace.deploy(archive, pytest.fail, target=target)
    message = str(raised.value)
    print(message)
    assert "firm did not become ready: " in message
    assert UNKNOWN_IMAGE in message
    assert f"the previous version {served.digest[:12]} answers again" in message
    statuses = {condition["type"]: condition["status"] for condition in conditions}
    assert statuses == {"Ready": "True", "PredictorReady": "True"}
    check_served(namespace, served)


def test_deadline_ends_the_wait_for_readiness(
    namespace: KServeNamespace, served: Archive, tmp_path: Path
) -> None:
    archive = make_archive(tmp_path, name="firm", scale=7)
    message = failed_rollout(namespace, archive, served, cpu="1000", deadline=4)
    assert re.search(r"firm-t\w{4} did not become ready within the 4 s of CT_ROLLOUT_DEADLINE: ", message)
    assert "Insufficient cpu" in message


def test_error_of_the_registry_reverts_the_switch(
    namespace: KServeNamespace, served: Archive, tmp_path: Path
) -> None:
    """The alias cannot be set after the traffic has moved."""
    archive = make_archive(tmp_path, name="firm", scale=8)

    def fail() -> None:
        assert namespace.serves(archive)
        raise PipelineError("the registry failed")

    with pytest.raises(PipelineError, match=r"the registry failed; the previous version \w+ answers again"):
        namespace.deploy(archive, fail)
    check_served(namespace, served)


def test_failed_first_version_leaves_no_objects(namespace: KServeNamespace, tmp_path: Path) -> None:
    with pytest.raises(RolloutReverted, match="nothing was served before, and nothing is served now"):
        namespace.deploy(make_archive(tmp_path, name="first", wrong=True), pytest.fail)
    assert namespace.service("first") is None
    assert not find_trials(namespace, "first")


def test_rejected_deployment_ends_the_rollout_with_the_event_of_the_controller(
    namespace: KServeNamespace, served: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU request exceeds the limit that KServe adds."""
    monkeypatch.setattr(cpu_limit, "DEFAULT_LIMIT", 2)
    archive = make_archive(tmp_path, name="firm", scale=11)
    start = time.monotonic()
    message = failed_rollout(namespace, archive, served, cpu="1500m")
    assert "KServe reports InternalError: " in message
    assert "must be less than or equal to cpu limit" in message
    assert time.monotonic() - start < namespace.settings.deadline
    assert "ImagePull" not in message, "an event of an earlier trial was reported"
    assert "FailedGetResourceMetric" not in message


def test_missing_controller_is_reported(
    namespace: KServeNamespace,
    controller: SimulatedController,
    served: Archive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(controller_problems, "CONTROLLER_GRACE", 3.0)
    archive = make_archive(tmp_path, name="firm", scale=12)
    controller.is_paused = True
    try:
        message = failed_rollout(namespace, archive, served)
    finally:
        controller.is_paused = False
    assert "KServe's controller has not processed InferenceService firm-t" in message
    assert "kubectl get pods -A -l control-plane=kserve-controller-manager" in message


def test_exceeded_quota_reverts_the_rollout(
    namespace: KServeNamespace, served: Archive, tmp_path: Path
) -> None:
    namespace.cluster.apply(QUOTA, {"metadata": {"name": "tight"}, "spec": {"hard": {"pods": "1"}}})
    try:
        message = failed_rollout(namespace, make_archive(tmp_path, name="firm", scale=10), served)
    finally:
        namespace.cluster.delete(QUOTA, "tight")
    assert "pods cannot be created: " in message
    assert "exceeded quota: tight" in message
