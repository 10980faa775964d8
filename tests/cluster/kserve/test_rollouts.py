"""Rollouts on KServe: the real InferenceService kind, with a simulated controller."""

from __future__ import annotations

from pathlib import Path

import pytest

from continuous_training.adapters.kubernetes.access_reviews import impersonated, user_of
from continuous_training.adapters.kubernetes.errors import RefusedError
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.core.errors import (
    RolloutReverted,
    UserError,
)
from continuous_training.operations.serving_state_kserve import read_inference_services
from continuous_training.rollout.kserve.deployment_mode import MODE_ANNOTATION
from continuous_training.rollout.kserve.inference_service import (
    INFERENCE_SERVICE,
)
from continuous_training.rollout.kubernetes.readiness import pods_of
from continuous_training.rollout.kubernetes.required_permissions import REQUIRED_PERMISSIONS
from continuous_training.rollout.kubernetes.serving_objects import MODEL_LABEL
from tests.continuous_training.serving.toy_models import make_archive

from ..cluster_namespace import ACCOUNT, role_rules
from .kserve_namespace import KServeNamespace
from .rollouts import (
    check_served,
    find_trials,
    get_service,
    requests_in_background,
)

pytestmark = pytest.mark.usefixtures("short_grace_periods")


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


def test_unknown_fields_are_refused(namespace: KServeNamespace, served: Archive) -> None:
    predictor = get_service(namespace, "firm")["spec"]["predictor"]
    # KServe's webhook adds a missing name of a container, but no API server accepts an unknown field.
    containers = [{"name": "kserve-container", "picture": "x"}]
    for field, value in (("replicas", 1), ("minReplicas", "one"), ("containers", containers)):
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
