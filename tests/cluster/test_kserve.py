"""Rollouts on KServe: its kind for real, and its controller played as it was seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters.kubernetes.access_reviews import impersonated, user_of
from continuous_training.adapters.kubernetes.errors import RefusedError
from continuous_training.adapters.kubernetes.resources import CONFIG_MAP, Resource
from continuous_training.artifacts.archive import Archive
from continuous_training.core.errors import PipelineError, RolloutReverted, UserError
from continuous_training.operations.serving_state_kserve import look_at_kserve
from continuous_training.rollout.kserve import deployment_mode
from continuous_training.rollout.kserve.deployment_mode import MODE_ANNOTATION
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE
from continuous_training.rollout.kubernetes import pod_diagnostics
from continuous_training.rollout.kubernetes.permissions import REQUIRED_PERMISSIONS
from tests.continuous_training.serving.toy_models import make_archive

from .callers import calling
from .kserve import crd
from .kserve.controller import Controller
from .kserve.place import KServePlace, playing
from .place import ACCOUNT, Place, tagged

QUOTA = Resource("v1", "ResourceQuota", "resourcequotas")


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on a trouble that will not end sooner than in the field."""
    monkeypatch.setattr(pod_diagnostics, "IMAGE_GRACE", 5.0)
    monkeypatch.setattr(pod_diagnostics, "CRASH_GRACE", 3.0)
    monkeypatch.setattr(pod_diagnostics, "CREATION_GRACE", 3.0)


@pytest.fixture(scope="module")
def kind(shared: Place) -> Iterator[None]:
    """The cluster knows InferenceServices."""
    with crd.installed(shared.cluster):
        yield


@pytest.fixture(scope="module")
def played(shared: Place, kind: None) -> Iterator[tuple[KServePlace, Controller]]:
    with playing(shared) as made:
        yield made


@pytest.fixture
def here(played: tuple[KServePlace, Controller]) -> KServePlace:
    """The namespace of these tests, in Standard mode; they keep apart by the names of their models."""
    return played[0]


@pytest.fixture
def controller(played: tuple[KServePlace, Controller]) -> Iterator[Controller]:
    """The controller, which a test may have spoil pods."""
    yield played[1]
    played[1].spoilt.clear()


@pytest.fixture(scope="module")
def served(played: tuple[KServePlace, Controller], tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """A version that is served under the name `firm`; tests that fail to replace it leave it so."""
    archive = make_archive(tmp_path_factory.mktemp("firm"), name="firm")
    played[0].deploy(archive)
    return archive


def refused(place: KServePlace, archive: Archive, former: Archive, **changes: object) -> str:
    """Roll out what must fail; returns the error's words once all is seen to be as it was."""
    with pytest.raises(RolloutReverted) as told:
        place.deploy(archive, pytest.fail, **changes)
    message = str(told.value)
    print(message)
    as_it_was(place, former)
    assert f"the former version {former.digest[:12]} answers again, as it did before" in message
    return message


def as_it_was(place: KServePlace, former: Archive) -> None:
    assert place.answers(former)
    assert place.target().served_digest(former.name) == former.digest
    assert place.service(f"{former.name}-trial") is None


@contextmanager
def asking(place: KServePlace, archive: Archive) -> Iterator[list[str]]:
    """Have a caller ask the endpoint for the while; yields the faults, and what went wrong is in it after."""
    target, faults, ends = place.target(), [], threading.Event()

    def ask() -> None:
        while not ends.is_set():
            answer = target.ask.post(f"{archive.name}-predictor", f"/predict/{archive.name}", {"x": [1.0]})
            if answer.status != 200:
                faults.append(f"{answer.status} {answer.body!r}")

    caller = threading.Thread(target=ask)
    caller.start()
    try:
        yield faults
    finally:
        ends.set()
        caller.join()


def test_a_better_version_takes_over_under_load(here: KServePlace, tmp_path: Path) -> None:
    one, two = make_archive(tmp_path, name="better"), make_archive(tmp_path, name="better", scale=3)
    champions: list[str] = []
    target = here.deploy(one)
    address = target.url("better")
    assert here.answers(one)
    with asking(here, one) as faults:
        here.deploy(two, lambda: champions.append("two"))
    assert faults == []
    assert champions == ["two"]
    assert here.answers(two)
    host = f"better-predictor.{here.namespace}.svc.cluster.local"
    assert target.url("better") == address == f"http://{host}/predict/better"
    assert here.service("better-trial") is None
    made = here.service("better")
    assert made is not None
    assert made["metadata"]["annotations"][MODE_ANNOTATION] == "Standard"
    assert made["status"]["deploymentMode"] == "Standard"
    looked_at = look_at_kserve(here.cluster)
    assert looked_at.digest("better") == two.digest
    assert looked_at.models["better"]["phase"] == "serving"
    assert looked_at.url("better") == address
    assert "better-trial" not in looked_at.models


def test_the_same_version_again_changes_nothing(here: KServePlace, served: Archive) -> None:
    before = here.service("firm")
    here.deploy(served)
    after = here.service("firm")
    assert before is not None
    assert after is not None
    assert before["metadata"]["generation"] == after["metadata"]["generation"]
    as_it_was(here, served)


def test_an_image_that_is_not_there_never_has_traffic(
    here: KServePlace, served: Archive, tmp_path: Path
) -> None:
    new = make_archive(tmp_path, name="firm", scale=3)
    before = here.service("firm")
    missing = tagged("serving", "no-such-tag")
    message = refused(here, new, served, image=missing)
    assert "firm-trial did not come up: " in message
    assert "ImagePull" in message
    assert missing in message
    assert "the last events: " in message
    after = here.service("firm")
    assert before is not None
    assert after is not None
    assert before["metadata"]["generation"] == after["metadata"]["generation"]


def test_a_pod_that_crashes(here: KServePlace, served: Archive, tmp_path: Path) -> None:
    message = refused(here, make_archive(tmp_path, name="firm", scale=4, wrong=True), served)
    assert "firm-trial did not come up: " in message
    assert " has ended " in message
    assert "the last lines of its log: " in message
    assert "golden request 1" in message


def test_a_version_that_answers_wrongly_once_it_is_up(
    here: KServePlace, served: Archive, tmp_path: Path
) -> None:
    message = refused(here, make_archive(tmp_path, name="firm", scale=5, drifts_after=8), served)
    assert "its golden requests are answered wrongly" in message
    assert "expected 5" in message


def test_ready_is_not_believed_when_the_endpoint_never_comes_up(
    here: KServePlace, controller: Controller, served: Archive, tmp_path: Path
) -> None:
    """The trial was good; the pods of the endpoint are not, and KServe says Ready all the same."""
    new, target = make_archive(tmp_path, name="firm", scale=6), here.target()
    controller.spoilt["firm", new.digest[:12]] = "no.registry.example/serving:gone"
    conditions: list[Any] = []

    def told(line: str) -> None:
        if line.startswith("waiting for firm: ") and "no.registry.example" in line:
            conditions.extend((here.service("firm") or {})["status"]["conditions"])

    target.progress = told
    with pytest.raises(RolloutReverted) as error:
        here.deploy(new, pytest.fail, target=target)
    message = str(error.value)
    print(message)
    assert "firm did not come up: " in message
    assert "no.registry.example/serving:gone" in message
    assert f"the former version {served.digest[:12]} answers again" in message
    assert {one["type"]: one["status"] for one in conditions} == {"Ready": "True", "PredictorReady": "True"}
    as_it_was(here, served)


def test_a_deadline_ends_what_never_becomes_ready(here: KServePlace, served: Archive, tmp_path: Path) -> None:
    new = make_archive(tmp_path, name="firm", scale=7)
    message = refused(here, new, served, cpu="1000", deadline=4)
    assert "firm-trial did not come up within 4 s (CT_ROLLOUT_DEADLINE): " in message
    assert "Insufficient cpu" in message


def test_a_registry_that_will_not_have_it(here: KServePlace, served: Archive, tmp_path: Path) -> None:
    """All traffic has moved already when the alias is refused: it goes back."""
    new = make_archive(tmp_path, name="firm", scale=8)

    def refuse() -> None:
        assert here.answers(new)
        raise PipelineError("the registry would not have it")

    with pytest.raises(PipelineError, match=r"would not have it; the former version \w+ answers again"):
        here.deploy(new, refuse)
    as_it_was(here, served)


def test_a_first_version_that_fails_leaves_nothing(here: KServePlace, tmp_path: Path) -> None:
    with pytest.raises(RolloutReverted, match="nothing was served before, and nothing is now"):
        here.deploy(make_archive(tmp_path, name="first", wrong=True), pytest.fail)
    assert here.service("first") is None
    assert here.service("first-trial") is None


def test_what_a_dead_deployer_left_is_put_right(here: KServePlace, tmp_path: Path) -> None:
    one, two, three = (make_archive(tmp_path, name="dead", scale=scale) for scale in (2, 3, 4))
    here.deploy(one)
    here.keep(two)
    lost = here.target()
    with lost.rollout_lock("dead", here.tell):
        lost.begin_trial("dead", two.path, two.digest)
    assert here.answers(two)
    assert here.service("dead-trial") is not None
    row = look_at_kserve(here.cluster).models["dead"]
    assert row == {
        "name": "dead",
        "digest": two.digest,
        "former": one.digest,
        "phase": "probation",
        "state": "READY",
    }
    here.told.clear()
    with here.target().rollout_lock("dead", here.tell):
        as_it_was(here, one)
    told = f"a rollout of dead was cut off with {two.digest[:12]} on trial: {one.digest[:12]} is put back"
    assert told in here.told
    here.deploy(three)
    as_it_was(here, three)


def test_a_first_version_of_a_dead_deployer_goes(here: KServePlace, tmp_path: Path) -> None:
    archive = here.keep(make_archive(tmp_path, name="cut"))
    lost = here.target()
    with lost.rollout_lock("cut", here.tell):
        lost.begin_trial("cut", archive.path, archive.digest)
    with here.target().rollout_lock("cut", here.tell):
        assert here.service("cut") is None
        assert here.service("cut-trial") is None


def test_a_canary_is_refused_where_kserve_would_ignore_it(
    here: KServePlace, served: Archive, tmp_path: Path
) -> None:
    before = here.service("firm")
    with pytest.raises(
        UserError, match=r"CT_CANARY is 10, .* Standard .*CT_CANARY=0, or CT_TARGET=kubernetes"
    ):
        here.deploy(make_archive(tmp_path, name="firm", scale=9), pytest.fail, canary=10)
    assert here.service("firm") == before
    assert here.service("firm-trial") is None


def test_somebody_elses_service_is_left_alone(here: KServePlace, tmp_path: Path) -> None:
    made = here.service("firm")
    assert made is not None
    foreign = {"metadata": {"name": "foreign"}, "spec": made["spec"]}
    here.cluster.apply(INFERENCE_SERVICE, foreign)
    before = here.service("foreign")
    with pytest.raises(UserError, match=r"foreign .* was not made by this pipeline"):
        here.deploy(make_archive(tmp_path, name="foreign"), pytest.fail)
    after = here.service("foreign")
    here.cluster.delete(INFERENCE_SERVICE, "foreign")
    assert before is not None
    assert after is not None
    assert before["spec"] == after["spec"]


def test_a_name_that_kserve_cannot_have_is_refused(here: KServePlace, tmp_path: Path) -> None:
    long = "a" * 41
    with pytest.raises(UserError, match="at most 40"):
        here.deploy(make_archive(tmp_path, name=long), pytest.fail)


def test_pods_that_a_quota_will_not_have(here: KServePlace, served: Archive, tmp_path: Path) -> None:
    here.cluster.apply(QUOTA, {"metadata": {"name": "tight"}, "spec": {"hard": {"pods": "1"}}})
    try:
        message = refused(here, make_archive(tmp_path, name="firm", scale=10), served)
    finally:
        here.cluster.delete(QUOTA, "tight")
    assert "pods cannot be made: " in message
    assert "exceeded quota: tight" in message


def test_the_kind_refuses_what_kserve_does_not_know(here: KServePlace, served: Archive) -> None:
    made = here.service("firm")
    assert made is not None
    predictor = made["spec"]["predictor"]
    for field, value in (("replicas", 1), ("minReplicas", "one"), ("containers", [{"image": "x"}])):
        manifest = {"metadata": {"name": "firm"}, "spec": {"predictor": {**predictor, field: value}}}
        with pytest.raises(RefusedError, match=field):
            here.cluster.apply(INFERENCE_SERVICE, manifest, dry_run=True)


def test_it_needs_no_more_than_it_says(here: KServePlace, served: Archive, tmp_path: Path) -> None:
    """A Role with exactly the listed rules is enough, and one verb less is told by its name."""
    rules = [
        {
            "apiGroups": [resource.group],
            "resources": [f"{resource.plural}/{sub}" if sub else resource.plural],
            "verbs": list(verbs),
        }
        for resource, sub, verbs in REQUIRED_PERMISSIONS["kserve"]
    ]
    here.account(rules)
    as_account = impersonated(here.cluster, user_of(here.namespace, ACCOUNT))
    here.deploy(make_archive(tmp_path, name="modest"), target=here.target(as_account))
    wrong = make_archive(tmp_path, name="modest", wrong=True)
    with pytest.raises(RolloutReverted, match=r"the last lines of its log: (?!.*more cannot be read)"):
        here.deploy(wrong, pytest.fail, target=here.target(as_account))
    for rule in rules:
        if rule["resources"] == [INFERENCE_SERVICE.plural]:
            rule["verbs"].remove("patch")
    here.account(rules)
    with pytest.raises(RolloutReverted, match=r"verb patch on inferenceservices of API group"):
        here.deploy(wrong, pytest.fail, target=here.target(as_account))


@pytest.fixture
def serverless(own: Place, kind: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[KServePlace]:
    """A namespace whose KServe is set to Knative by its ConfigMap."""
    default = {"deploy": '{"defaultDeploymentMode": "Knative"}'}
    own.cluster.apply(CONFIG_MAP, {"metadata": {"name": deployment_mode.CONFIG_MAP_NAME}, "data": default})
    monkeypatch.setattr(deployment_mode, "CONFIG_MAP_NAMESPACES", ("no-such-namespace", own.namespace))
    with playing(own, "Knative") as (here, _):
        yield here


def test_in_serverless_mode_a_canary_has_its_share_first(serverless: KServePlace, tmp_path: Path) -> None:
    here = serverless
    one, good = (make_archive(tmp_path, name="shared", scale=scale) for scale in (2, 3))
    # It answers its golden requests; what callers send is too much for it.
    bad = make_archive(tmp_path, name="shared", scale=4, fails_on=7.0)
    here.deploy(one)
    made = here.service("shared")
    assert made is not None
    assert made["metadata"]["annotations"][MODE_ANNOTATION] == "Knative"
    assert made["spec"]["predictor"]["containers"][0]["ports"][0]["name"] == "http1"

    with calling(here, "shared", {"x": [7.0]}) as called, pytest.raises(RolloutReverted) as told:
        here.deploy(bad, pytest.fail, canary=50, canary_seconds=12)
    assert "the canary was withdrawn: the canary had " in str(told.value)
    assert f"the former version {one.digest[:12]} answers again" in str(told.value)
    assert one.digest in called.answered
    assert all(fault.startswith("500") for fault in called.faults)
    as_it_was(here, one)
    here.kubectl("wait", "--for=delete", "pod/callers-shared", "--timeout=60s")

    with calling(here, "shared", {"x": [7.0]}) as called:
        here.deploy(good, canary=50, canary_seconds=3)
    assert called.faults == []
    assert set(called.answered) == {one.digest, good.digest}
    assert "canary: shared " in "\n".join(here.told)
    as_it_was(here, good)
    made = here.service("shared")
    assert made is not None
    assert "canaryTrafficPercent" not in made["spec"]["predictor"]
    assert here.target().url("shared").endswith(f"shared.{here.namespace}.svc.cluster.local/predict/shared")


def test_a_serverless_version_that_never_comes_up(serverless: KServePlace, tmp_path: Path) -> None:
    one = make_archive(tmp_path, name="quiet")
    serverless.deploy(one)
    missing = tagged("serving", "no-such-tag")
    message = refused(serverless, make_archive(tmp_path, name="quiet", scale=3), one, image=missing)
    assert "quiet-trial did not come up: " in message
    assert "ImagePull" in message
