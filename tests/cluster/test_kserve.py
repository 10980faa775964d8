"""Rollouts on KServe: the real InferenceService kind, with a simulated controller."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters.kubernetes.access_reviews import impersonated, user_of
from continuous_training.adapters.kubernetes.errors import RefusedError
from continuous_training.adapters.kubernetes.resources import CONFIG_MAP
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.core.errors import PipelineError, RolloutReverted, UnsettledError, UserError
from continuous_training.operations.serving_state_kserve import read_inference_services
from continuous_training.rollout.kserve import controller_problems, cpu_limit, deployment_mode, trials
from continuous_training.rollout.kserve.deployment_mode import MODE_ANNOTATION
from continuous_training.rollout.kserve.inference_service import (
    INFERENCE_SERVICE,
    PREVIOUS_MANIFEST_ANNOTATION,
    confirmed_trial_manifest,
)
from continuous_training.rollout.kubernetes.readiness import label_selector, pods_of
from continuous_training.rollout.kubernetes.required_permissions import REQUIRED_PERMISSIONS
from continuous_training.rollout.kubernetes.serving_objects import CONFIRMED_ANNOTATION, MODEL_LABEL, Manifest
from tests.continuous_training.serving.toy_models import make_archive

from .cluster_namespace import ACCOUNT, MISSING_IMAGE, QUOTA, ClusterNamespace, role_rules
from .kserve import crd
from .kserve.kserve_namespace import KServeNamespace, simulated_kserve
from .kserve.simulated_controller import SimulatedController
from .load_generator import generate_load

UNKNOWN_IMAGE = "no.registry.example/serving:gone"
REQUEST = {"x": [1.0]}

pytestmark = pytest.mark.usefixtures("short_grace_periods")


@pytest.fixture(scope="module")
def installed_crd(shared_namespace: ClusterNamespace) -> Iterator[None]:
    """The kind InferenceService."""
    with crd.installed(shared_namespace.cluster):
        yield


@pytest.fixture(scope="module")
def simulation(
    shared_namespace: ClusterNamespace, installed_crd: None
) -> Iterator[tuple[KServeNamespace, SimulatedController]]:
    with simulated_kserve(shared_namespace) as simulation:
        yield simulation


@pytest.fixture
def namespace(simulation: tuple[KServeNamespace, SimulatedController]) -> KServeNamespace:
    """A namespace in Standard mode for all tests; each test uses its own model name."""
    return simulation[0]


@pytest.fixture
def controller(
    simulation: tuple[KServeNamespace, SimulatedController],
) -> Iterator[SimulatedController]:
    """The controller, without image overrides of other tests."""
    yield simulation[1]
    simulation[1].image_overrides.clear()
    simulation[1].deletion_seconds = 0.5


@pytest.fixture(scope="module")
def served(
    simulation: tuple[KServeNamespace, SimulatedController], tmp_path_factory: pytest.TempPathFactory
) -> Archive:
    """The served version of the model `firm`; it is still served after the test of a failed rollout."""
    archive = make_archive(tmp_path_factory.mktemp("firm"), name="firm")
    simulation[0].deploy(archive)
    return archive


def get_service(namespace: KServeNamespace, name: str) -> Manifest:
    """Return an InferenceService that must exist."""
    service = namespace.service(name)
    assert service is not None
    return service


def find_trials(namespace: KServeNamespace, model: str) -> list[Manifest]:
    """Return the trials of a model that are not being deleted."""
    return [
        service
        for service in namespace.cluster.find(INFERENCE_SERVICE, label_selector({MODEL_LABEL: model}))
        if PREVIOUS_MANIFEST_ANNOTATION in service["metadata"]["annotations"]
        and "deletionTimestamp" not in service["metadata"]
    ]


def failed_rollout(namespace: KServeNamespace, archive: Archive, previous: Archive, **changes: object) -> str:
    """Deploy an archive that must fail; return the error message after the check of the previous state."""
    with pytest.raises(RolloutReverted) as raised:
        namespace.deploy(archive, pytest.fail, **changes)
    message = str(raised.value)
    print(message)
    check_served(namespace, previous)
    assert f"the previous version {previous.digest[:12]} answers again, as before" in message
    return message


def check_served(namespace: KServeNamespace, archive: Archive) -> None:
    """Assert that the version is served and that no trial is left."""
    assert namespace.serves(archive)
    assert namespace.target().served_digest(archive.name) == archive.digest
    assert not find_trials(namespace, archive.name)


@contextmanager
def requests_in_background(namespace: KServeNamespace, archive: Archive) -> Iterator[list[str]]:
    """Send requests during the block; yield the list of failed requests."""
    target, errors, stop = namespace.target(), list[str](), threading.Event()
    address = f"http://{archive.name}-predictor.{namespace.name}.svc"

    def send_requests() -> None:
        while not stop.is_set():
            response = target.client.post(address, f"/predict/{archive.name}", REQUEST)
            if response.status != 200:
                errors.append(f"{response.status} {response.body!r}")

    thread = threading.Thread(target=send_requests)
    thread.start()
    try:
        yield errors
    finally:
        stop.set()
        thread.join()


def test_new_version_replaces_the_previous_one_under_load(namespace: KServeNamespace, tmp_path: Path) -> None:
    name, champions = "better", list[str]()
    first, second = make_archive(tmp_path, name=name), make_archive(tmp_path, name=name, scale=3)
    target = namespace.deploy(first)
    address = target.url(name)
    assert namespace.serves(first)
    with requests_in_background(namespace, first) as errors:
        namespace.deploy(second, lambda: champions.append("second"))
    assert errors == []
    assert champions == ["second"]
    assert namespace.serves(second)
    host = f"better-predictor.{namespace.name}.svc.cluster.local"
    assert target.url(name) == address == f"http://{host}/predict/better"
    assert not find_trials(namespace, "better")
    service = get_service(namespace, name)
    assert service["metadata"]["annotations"][MODE_ANNOTATION] == "Standard"
    assert service["status"]["deploymentMode"] == "Standard"
    state = read_inference_services(namespace.cluster)
    assert state.digest(name) == second.digest
    assert not state.on_trial(name)
    assert state.url(name) == address
    assert not [name for name in state.models if name.startswith("better-")]


def test_deploying_the_same_version_twice_changes_nothing(
    namespace: KServeNamespace, served: Archive
) -> None:
    before = get_service(namespace, "firm")
    namespace.deploy(served)
    after = get_service(namespace, "firm")
    assert before["metadata"]["generation"] == after["metadata"]["generation"]
    check_served(namespace, served)


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


def test_condition_ready_is_ignored(
    namespace: KServeNamespace, controller: SimulatedController, served: Archive, tmp_path: Path
) -> None:
    """The trial succeeds. The pods of the endpoint do not start, but KServe reports Ready."""
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


def test_other_settings_of_the_same_version_are_rolled_out(
    namespace: KServeNamespace, tmp_path: Path
) -> None:
    archive = make_archive(tmp_path, name="resized")
    namespace.deploy(archive)
    namespace.deploy(archive, memory="200Mi", replicas=2)
    labels = {MODEL_LABEL: "resized"}
    pods = [pod for pod in pods_of(namespace.cluster, labels) if "deletionTimestamp" not in pod["metadata"]]
    limits = [pod["spec"]["containers"][0]["resources"]["limits"]["memory"] for pod in pods]
    assert limits == ["200Mi"] * 2
    check_served(namespace, archive)


def test_recovery_removes_an_interrupted_first_version(namespace: KServeNamespace, tmp_path: Path) -> None:
    interrupt_rollout(namespace, make_archive(tmp_path, name="cut"))
    with namespace.target().rollout_lock("cut", namespace.progress):
        assert namespace.service("cut") is None
        assert not find_trials(namespace, "cut")


def interrupt_rollout(namespace: KServeNamespace, archive: Archive) -> None:
    """Begin a trial and do not end it."""
    namespace.store_archive(archive)
    target = namespace.target()
    with target.rollout_lock(archive.name, namespace.progress):
        target.begin_trial(archive.name, archive.path, archive.digest)


def test_canary_in_standard_mode_is_a_user_error(
    namespace: KServeNamespace, served: Archive, tmp_path: Path
) -> None:
    before, archive = namespace.service("firm"), make_archive(tmp_path, name="firm", scale=9)
    with pytest.raises(UserError, match=r"CT_CANARY is 10.*CT_CANARY=0, or CT_TARGET=kubernetes"):
        namespace.deploy(archive, pytest.fail, canary=10)
    assert namespace.service("firm") == before
    assert not find_trials(namespace, "firm")


def test_service_of_another_owner_is_not_changed(
    namespace: KServeNamespace, served: Archive, tmp_path: Path
) -> None:
    spec = get_service(namespace, "firm")["spec"]
    namespace.cluster.apply(INFERENCE_SERVICE, {"metadata": {"name": "foreign"}, "spec": spec})
    before = get_service(namespace, "foreign")
    with pytest.raises(UserError, match=r"foreign .* was not created by this pipeline"):
        namespace.deploy(make_archive(tmp_path, name="foreign"), pytest.fail)
    after = get_service(namespace, "foreign")
    namespace.cluster.delete(INFERENCE_SERVICE, "foreign")
    assert before["spec"] == after["spec"]


def test_long_name_is_a_user_error(namespace: KServeNamespace, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at most 40"):
        namespace.deploy(make_archive(tmp_path, name="a" * 41), pytest.fail)


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


def test_unknown_fields_are_refused(namespace: KServeNamespace, served: Archive) -> None:
    predictor = get_service(namespace, "firm")["spec"]["predictor"]
    for field, value in (("replicas", 1), ("minReplicas", "one"), ("containers", [{"image": "x"}])):
        manifest = {"metadata": {"name": "firm"}, "spec": {"predictor": {**predictor, field: value}}}
        with pytest.raises(RefusedError, match=field):
            namespace.cluster.apply(INFERENCE_SERVICE, manifest, dry_run=True)


def test_required_permissions_are_sufficient_and_necessary(
    namespace: KServeNamespace, served: Archive, tmp_path: Path
) -> None:
    """A rollout succeeds with exactly the listed permissions, and an error names a missing verb."""
    rules = role_rules(REQUIRED_PERMISSIONS["kserve"])
    namespace.create_account(rules)
    account = impersonated(namespace.cluster, user_of(namespace.name, ACCOUNT))
    modest = make_archive(tmp_path, name="modest")
    namespace.deploy(modest, target=namespace.target(account))
    assert read_inference_services(account).digest("modest") == modest.digest
    incorrect = make_archive(tmp_path, name="modest", wrong=True)
    with pytest.raises(RolloutReverted, match=r"last log lines: (?!.*could not be read)"):
        namespace.deploy(incorrect, pytest.fail, target=namespace.target(account))
    for rule in rules:
        if rule["resources"] == [INFERENCE_SERVICE.plural]:
            rule["verbs"].remove("patch")
    namespace.create_account(rules)
    with pytest.raises(RolloutReverted, match=r"verb patch on inferenceservices .*components/kserve/role"):
        namespace.deploy(incorrect, pytest.fail, target=namespace.target(account))


@pytest.fixture
def knative_namespace(
    own_namespace: ClusterNamespace, installed_crd: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KServeNamespace]:
    """A namespace in Knative mode, which KServe's ConfigMap selects."""
    data = {"deploy": '{"defaultDeploymentMode": "Knative"}'}
    manifest = {"metadata": {"name": deployment_mode.CONFIG_MAP_NAME}, "data": data}
    own_namespace.cluster.apply(CONFIG_MAP, manifest)
    namespaces = ("no-such-namespace", own_namespace.name)
    monkeypatch.setattr(deployment_mode, "CONFIG_MAP_NAMESPACES", namespaces)
    with simulated_kserve(own_namespace, "Knative") as (namespace, _):
        yield namespace


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
