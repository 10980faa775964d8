"""Interrupted rollouts on KServe, and rollouts whose controller or webhook does not respond."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from continuous_training.core.errors import (
    PipelineError,
    TransientError,
    UnsettledError,
)
from continuous_training.operations.serving_state_kserve import read_inference_services
from continuous_training.rollout.kserve import trials
from continuous_training.rollout.kserve.inference_service import (
    INFERENCE_SERVICE,
    confirmed_trial_manifest,
    restorable_manifest,
)
from continuous_training.rollout.kubernetes.serving_objects import CONFIRMED_ANNOTATION
from tests.continuous_training.serving.toy_models import make_archive

from .kserve_namespace import KServeNamespace
from .rollouts import (
    check_served,
    find_trials,
    get_service,
    interrupt_rollout,
)
from .simulated_controller import SimulatedController
from .unavailable_webhook import unavailable_webhook

pytestmark = pytest.mark.usefixtures("short_grace_periods")


def test_dead_controller_leaves_an_unsettled_rollout_that_the_next_one_finishes(
    namespace: KServeNamespace, controller: SimulatedController, tmp_path: Path
) -> None:
    first, second, third = (make_archive(tmp_path, name="orphan", scale=scale) for scale in (2, 3, 4))
    namespace.deploy(first)

    def lose_the_controller() -> None:
        controller.is_paused = True
        raise PipelineError("the registry failed")

    try:
        with pytest.raises(UnsettledError, match=r"was not verified to answer again: ") as raised:
            namespace.deploy(second, lose_the_controller, deadline=20)
    finally:
        controller.is_paused = False
    assert raised.value.exit_code == 6
    assert find_trials(namespace, "orphan"), "the next rollout has nothing to restore"
    namespace.messages.clear()
    namespace.deploy(third)
    assert f"restoring {first.digest[:12]}" in "\n".join(namespace.messages)
    check_served(namespace, third)


def test_webhook_that_does_not_answer_delays_the_restore_to_the_next_rollout(
    namespace: KServeNamespace, tmp_path: Path
) -> None:
    first, second = (make_archive(tmp_path, name="hooked", scale=scale) for scale in (2, 3))
    namespace.deploy(first)
    target = namespace.target(namespace.cluster.with_retry_budget(1))
    service = restorable_manifest(get_service(namespace, "hooked"))
    with ExitStack() as outage:

        def lose_the_webhook() -> None:
            outage.enter_context(unavailable_webhook(namespace, service))
            raise PipelineError("the registry failed")

        with pytest.raises(TransientError, match="failed calling webhook") as raised:
            namespace.deploy(second, lose_the_webhook, target=target)
    assert raised.value.exit_code == 75
    assert "was not verified to answer again" in str(raised.value)
    assert find_trials(namespace, "hooked")
    with namespace.target().rollout_lock("hooked", namespace.progress):
        check_served(namespace, first)


def test_next_rollout_recovers_from_an_interrupted_one(namespace: KServeNamespace, tmp_path: Path) -> None:
    first, second, third = (make_archive(tmp_path, name="dead", scale=scale) for scale in (2, 3, 4))
    namespace.deploy(first)
    interrupt_rollout(namespace, second)
    assert namespace.serves(second)
    assert find_trials(namespace, "dead")
    state = read_inference_services(namespace.cluster)
    assert state.digest("dead") == second.digest
    assert state.on_trial("dead")
    assert {first.digest, second.digest} <= state.digests()
    namespace.messages.clear()
    with namespace.target().rollout_lock("dead", namespace.progress):
        check_served(namespace, first)
    messages = "\n".join(namespace.messages)
    assert f"interrupted with {second.digest[:12]} on trial: restoring {first.digest[:12]}" in messages
    namespace.deploy(third)
    check_served(namespace, third)


def test_recovery_removes_an_interrupted_first_version(namespace: KServeNamespace, tmp_path: Path) -> None:
    interrupt_rollout(namespace, make_archive(tmp_path, name="cut"))
    with namespace.target().rollout_lock("cut", namespace.progress):
        assert namespace.service("cut") is None
        assert not find_trials(namespace, "cut")


def test_slow_deletion_of_a_trial_does_not_undo_its_confirmed_version(
    namespace: KServeNamespace,
    controller: SimulatedController,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, third = (make_archive(tmp_path, name="slow", scale=scale) for scale in (2, 3, 4))
    namespace.deploy(first)
    monkeypatch.setattr(trials, "DELETION_TIMEOUT", 1.0)
    controller.deletion_seconds = 60
    namespace.messages.clear()
    namespace.deploy(second)
    assert "it is not used any more" in namespace.messages[-1]
    assert namespace.target().find_interrupted_trial("slow") is None
    assert not read_inference_services(namespace.cluster).on_trial("slow")
    namespace.deploy(third)
    check_served(namespace, third)
    assert not [message for message in namespace.messages if "was interrupted" in message]


def test_a_confirmed_trial_that_was_not_deleted_is_not_restored(
    namespace: KServeNamespace, tmp_path: Path
) -> None:
    first, second, third = (make_archive(tmp_path, name="marked", scale=scale) for scale in (2, 3, 4))
    namespace.deploy(first)
    interrupt_rollout(namespace, second)
    (trial,) = find_trials(namespace, "marked")
    namespace.cluster.apply(INFERENCE_SERVICE, confirmed_trial_manifest(trial, second.digest))
    assert not read_inference_services(namespace.cluster).on_trial("marked")
    with namespace.target().rollout_lock("marked", namespace.progress):
        assert namespace.serves(second)
    namespace.deploy(third)
    check_served(namespace, third)


def test_a_trial_of_an_earlier_release_is_restored(namespace: KServeNamespace, tmp_path: Path) -> None:
    first, second = (make_archive(tmp_path, name="former", scale=scale) for scale in (2, 3))
    namespace.deploy(first)
    interrupt_rollout(namespace, second)
    (trial,) = find_trials(namespace, "former")
    manifest = confirmed_trial_manifest(trial, "")
    manifest["metadata"]["name"] = "former-trial"
    del manifest["metadata"]["annotations"][CONFIRMED_ANNOTATION]
    namespace.cluster.delete(INFERENCE_SERVICE, trial["metadata"]["name"])
    namespace.cluster.apply(INFERENCE_SERVICE, manifest)
    assert read_inference_services(namespace.cluster).on_trial("former")
    with namespace.target().rollout_lock("former", namespace.progress):
        check_served(namespace, first)
