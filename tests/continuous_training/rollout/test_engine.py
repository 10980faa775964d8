"""The order of a rollout and the errors of its failures, with a target that records calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from continuous_training.artifacts.archive_writer import Archive
from continuous_training.artifacts.golden_requests import GoldenRequest, GoldenSet
from continuous_training.core.errors import (
    PipelineError,
    RolloutReverted,
    TransientError,
    UnsettledError,
    UserError,
)
from continuous_training.core.progress import Progress
from continuous_training.rollout.engine import roll_out
from continuous_training.rollout.golden_verification import read_golden_set
from continuous_training.rollout.restore_verification import RESTORED_RESPONSES
from continuous_training.rollout.target_interface import DeploymentTarget
from tests.continuous_training.serving.toy_models import make_archive

PREVIOUS = "0" * 64
ANSWERS_AGAIN = "the previous version 000000000000 answers again, as before"


class RecordingTarget(DeploymentTarget):
    """A target that serves the toy model in memory and records the calls that change it.

    `errors` are raised by the method of that name, after its effect. `responses` replace responses by digest.
    """

    def __init__(self, served: str | None) -> None:
        self.served = self.previous = served
        self.events: list[str] = []
        self.errors: dict[str, BaseException] = {}
        self.responses: dict[str, Any] = {PREVIOUS: "previous"}
        self.golden = GoldenSet((GoldenRequest({"x": [1.0]}, "previous"),))

    @contextmanager
    def rollout_lock(self, name: str, progress: Progress) -> Iterator[None]:
        yield

    def served_digest(self, name: str) -> str | None:
        return self.served

    def served_golden_requests(self, name: str) -> GoldenSet:
        self._raise("served_golden_requests")
        return self.golden

    def begin_trial(self, name: str, archive: Path, digest: str) -> None:
        self.events.append("begin_trial")
        error = self.errors.get("begin_trial")
        if not isinstance(error, PipelineError):
            self.served = digest
        self._raise("begin_trial")

    def predict(self, name: str, request: Any, digest: str) -> Any:
        self.events.append("predict" if digest != PREVIOUS else "predict previous")
        y = [2.0 * x for x in request["x"]]
        return self.responses.get(digest, {"scale": 2, "y": y})

    def confirm(self, name: str, digest: str) -> None:
        self.events.append("confirm")
        self._raise("confirm")

    def revert(self, name: str, digest: str) -> None:
        self.events.append("revert")
        self._raise("revert")
        assert digest == self.served
        self.served = self.previous

    def verify_complete(self, name: str, digest: str) -> None:
        self.events.append(f"verify {digest[:2]}")
        self._raise("verify_complete")

    def url(self, name: str) -> str:
        return f"memory://{name}"

    def _raise(self, method: str) -> None:
        if error := self.errors.get(method):
            raise error


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return make_archive(tmp_path)


STATUS = "python -m pipelines.status --workload toy --state 'a state'"


def rollout(target: RecordingTarget, archive: Archive, status: str = STATUS) -> None:
    """Roll out the archive. The progress messages and the move of the alias are events too."""

    def make_champion() -> None:
        target.events.append("make_champion")
        target._raise("make_champion")

    roll_out(target, "toy", archive.path, archive.digest, make_champion, target.events.append, status)


def test_the_previous_version_is_verified_while_the_store_is_unavailable(archive: Archive) -> None:
    class Target(RecordingTarget):
        def begin_trial(self, name: str, archive: Path, digest: str) -> None:
            self.errors["served_golden_requests"] = TransientError("the store is unavailable")
            super().begin_trial(name, archive, digest)

    target = Target(PREVIOUS)
    target.errors["begin_trial"] = PipelineError("no pod is ready")
    with pytest.raises(RolloutReverted, match=ANSWERS_AGAIN):
        rollout(target, archive)


def test_no_trial_begins_while_the_store_is_unavailable(archive: Archive) -> None:
    target = RecordingTarget(PREVIOUS)
    target.errors["served_golden_requests"] = TransientError("the store is unavailable")
    with pytest.raises(TransientError, match="the store is unavailable"):
        rollout(target, archive)
    assert target.events == []


def test_a_version_whose_archive_is_missing_can_be_replaced(archive: Archive) -> None:
    target = RecordingTarget(PREVIOUS)
    target.errors["served_golden_requests"] = UserError("the archive is not in the store")
    rollout(target, archive)
    assert target.served == archive.digest


@pytest.mark.parametrize(("served", "previous"), [(PREVIOUS, "000000000000"), (None, "nothing")])
def test_a_rollout_verifies_then_moves_the_alias_then_confirms(
    archive: Archive, served: str | None, previous: str
) -> None:
    target = RecordingTarget(served)
    rollout(target, archive)
    assert target.events == [
        f"switching toy from {previous} to {archive.digest[:12]}, on trial",
        "begin_trial",
        "predict",
        "predict",
        "golden requests: all responses through the endpoint are correct",
        "make_champion",
        "confirm",
    ]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PipelineError("no"), RolloutReverted),
        (UserError("no"), RolloutReverted),
        (TransientError("no"), TransientError),
    ],
)
def test_a_refused_version_is_not_reverted_again(
    archive: Archive, error: PipelineError, kind: type[PipelineError]
) -> None:
    """`begin_trial` itself restores the previous version; the engine verifies that."""
    target = RecordingTarget(PREVIOUS)
    target.errors["begin_trial"] = error
    with pytest.raises(kind) as raised:
        rollout(target, archive)
    assert type(raised.value) is kind
    assert raised.value.__cause__ is error
    assert str(raised.value) == f"toy {archive.digest[:12]} was refused: no; {ANSWERS_AGAIN}"
    assert target.events[1:] == ["begin_trial", "verify 00", *["predict previous"] * RESTORED_RESPONSES]


@pytest.mark.parametrize(
    "error", [TransientError("no"), UserError("no"), PipelineError("no"), RolloutReverted("no")]
)
def test_a_failed_move_of_the_alias_reverts_the_version(archive: Archive, error: PipelineError) -> None:
    target = RecordingTarget(PREVIOUS)
    target.errors["make_champion"] = error
    with pytest.raises(type(error)) as raised:
        rollout(target, archive)
    assert type(raised.value) is type(error)
    assert str(raised.value) == f"toy {archive.digest[:12]} was reverted: no; {ANSWERS_AGAIN}"
    verification = ["verify 00", *["predict previous"] * RESTORED_RESPONSES]
    assert target.events[target.events.index("make_champion") :] == ["make_champion", "revert", *verification]
    assert target.served == PREVIOUS


def test_a_wrong_response_through_the_endpoint_reverts_the_version_before_the_alias_moves(
    archive: Archive,
) -> None:
    target = RecordingTarget(None)
    target.responses[archive.digest] = "wrong"
    with pytest.raises(RolloutReverted) as raised:
        rollout(target, archive)
    assert "was reverted: its golden requests failed: " in str(raised.value)
    assert str(raised.value).endswith("; nothing was served before, and nothing is served now")
    assert target.events[1:] == ["begin_trial", "predict", "predict", "revert"]


@pytest.mark.parametrize("method", ["begin_trial", "make_champion"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a defect")])
def test_an_interruption_reverts_the_version_and_is_raised_unchanged(
    archive: Archive, method: str, error: BaseException
) -> None:
    target = RecordingTarget(PREVIOUS)
    target.errors[method] = error
    with pytest.raises(type(error)) as raised:
        rollout(target, archive)
    assert raised.value is error
    assert target.events[-2:] == [method, "revert"]


@pytest.mark.parametrize("method", ["begin_trial", "make_champion"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), TransientError("no")])
def test_a_version_that_was_served_before_is_never_reverted(
    archive: Archive, method: str, error: BaseException
) -> None:
    target = RecordingTarget(archive.digest)
    target.errors[method] = error
    target.golden = read_golden_set(archive.path)
    with pytest.raises(type(error)):
        rollout(target, archive)
    assert "revert" not in target.events
    assert target.served == archive.digest


@pytest.mark.parametrize(
    ("error", "kind"), [(TransientError("busy"), TransientError), (UserError("gone"), UnsettledError)]
)
def test_a_failed_revert_raises_no_rollout_reverted(
    archive: Archive, error: PipelineError, kind: type[PipelineError]
) -> None:
    target = RecordingTarget(PREVIOUS)
    target.errors |= {"make_champion": RolloutReverted("no"), "revert": error}
    with pytest.raises(kind) as raised:
        rollout(target, archive)
    assert type(raised.value) is kind
    assert (
        f"was reverted: no; the previous version 000000000000 was not verified to answer again: {error}"
        in str(raised.value)
    )


def answer_wrongly_at_last(target: RecordingTarget) -> None:
    """Let one of the many responses be one of the rejected version."""
    responses = iter([*["previous"] * (RESTORED_RESPONSES - 1), "rejected"])
    predict = target.predict

    def predict_as_one_of_several_servers(name: str, request: Any, digest: str) -> Any:
        response = predict(name, request, digest)
        return next(responses) if digest == PREVIOUS else response

    target.predict = predict_as_one_of_several_servers  # type: ignore[method-assign]


def leave_a_server_out(target: RecordingTarget) -> None:
    target.errors["verify_complete"] = PipelineError("1 of 2 pods is ready")


@pytest.mark.parametrize(
    ("change", "cause"),
    [(leave_a_server_out, "1 of 2 pods is ready"), (answer_wrongly_at_last, "its golden requests failed: ")],
)
@pytest.mark.parametrize("method", ["begin_trial", "make_champion"])
def test_a_previous_version_that_is_not_complete_is_unsettled(
    archive: Archive, change: Callable[[RecordingTarget], None], cause: str, method: str
) -> None:
    target = RecordingTarget(PREVIOUS)
    target.errors[method] = RolloutReverted("no")
    change(target)
    with pytest.raises(UnsettledError, match=cause) as raised:
        rollout(target, archive)
    assert raised.value.exit_code == 6
    assert "the next rollout of the model, or a retry of this step, restores the previous" in str(
        raised.value
    )


def test_a_trial_that_could_not_be_undone_is_unsettled(archive: Archive) -> None:
    """The responses of the previous version do not matter: the target still has something to restore."""
    target = RecordingTarget(PREVIOUS)
    target.errors["begin_trial"] = UnsettledError("no; the state before could not be restored")
    with pytest.raises(UnsettledError, match=r"was refused: no; the state before could not be restored; the"):
        rollout(target, archive)
    assert target.events[1:] == ["begin_trial"]


def leave_new_version(target: RecordingTarget) -> None:
    target.previous = "1" * 64


def answer_wrongly(target: RecordingTarget) -> None:
    target.responses[PREVIOUS] = "wrong"


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (
            leave_new_version,
            "the previous version 000000000000 was not verified to answer again: the endpoint now serves "
            "111111111111, not 000000000000",
        ),
        (
            answer_wrongly,
            "the previous version 000000000000 was not verified to answer again: it is served again, but its "
            "golden requests failed: ",
        ),
    ],
)
def test_the_error_states_what_is_served_after_the_revert(
    archive: Archive, change: Callable[[RecordingTarget], None], state: str
) -> None:
    target = RecordingTarget(PREVIOUS)
    target.errors["make_champion"] = TransientError("no")
    change(target)
    with pytest.raises(UnsettledError, match=f"was reverted: no; {state}"):
        rollout(target, archive)


@pytest.mark.parametrize("error", [UserError("no"), TransientError("no")])
def test_a_failed_confirmation_leaves_the_champion_on_trial(archive: Archive, error: PipelineError) -> None:
    """The alias has moved, so a revert would make the endpoint differ from the registry."""
    target = RecordingTarget(PREVIOUS)
    target.errors["confirm"] = error
    with pytest.raises(UnsettledError) as raised:
        rollout(target, archive)
    assert raised.value.exit_code == 6
    assert f"the registry's champion of toy is {archive.digest[:12]} now" in str(raised.value)
    assert "could not be ended: no." in str(raised.value)
    assert str(raised.value).endswith(f"To see the command that serves it at once:\n{STATUS}")
    again = ["begin_trial", "predict", "predict", "confirm"]
    assert [event for event in target.events if " " not in event][-6:] == ["make_champion", "confirm", *again]
    assert target.served == archive.digest


def test_a_trial_that_expired_while_the_alias_moved_is_repeated(archive: Archive) -> None:
    target = RecordingTarget(PREVIOUS)

    class Expired(UserError):
        """The error of the first confirmation: the target has reverted the version."""

        def __init__(self) -> None:
            super().__init__("not served any more")
            target.errors.clear()
            target.served = PREVIOUS

    def expire(method: str) -> None:
        if method in target.errors:
            raise Expired

    target.errors["confirm"] = UserError("expired")
    target._raise = expire  # type: ignore[method-assign]
    rollout(target, archive)
    assert target.events.count("make_champion") == 1
    assert target.events[-4:] == ["begin_trial", "predict", "predict", "confirm"]
    assert target.served == archive.digest
