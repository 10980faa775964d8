"""deploy-serving with a registry that needs longer than a trial lasts: the champion is served in the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.deploy_serving import step as deploy_serving
from components.deploy_serving.__main__ import main
from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.core.errors import TransientError
from continuous_training.rollout import local
from continuous_training.rollout.local import LocalTarget
from continuous_training.rollout.trial_renewal import TrialRenewal
from continuous_training.serving.models.model_status import SERVING
from continuous_training.serving.process import daemon
from tests.fakes import free_port

from .conftest import Line

TRIAL_SECONDS = 2.0
SLOW_SECONDS = 4 * TRIAL_SECONDS


class SlowRegistry(Registry):
    """A registry that needs a long time before and after it moves the champion's alias."""

    def promote(
        self, version: ModelVersion, expected: str | None, reason: str, run: str, user: str = ""
    ) -> None:
        time.sleep(SLOW_SECONDS / 2)
        super().promote(version, expected, reason, run, user)
        time.sleep(SLOW_SECONDS / 2)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory with a running model server and short trials."""
    monkeypatch.setattr(local, "TRIAL_SECONDS", TRIAL_SECONDS)
    folder = tmp_path / "state"
    daemon.start(folder, free_port())
    yield folder
    daemon.stop(folder)


def deploy(line: Line, state: Path, run: str, messages: list[str]) -> deploy_serving.DeployedModel:
    archive, output = line.folder / run / "archive", line.folder / run / "deployed.json"
    registry = SlowRegistry(line.registry.uri)
    return deploy_serving.run(archive, output, registry, line.store, LocalTarget(state), messages.append)


def check_served(line: Line, state: Path, version: str) -> None:
    champion = line.registry.champion(line.workload.name)
    assert champion is not None
    assert champion.version == version
    (model,) = LocalTarget(state).endpoint.models()
    assert (model.digest, model.phase) == (champion.digest, SERVING)


def test_the_trial_is_renewed_while_the_alias_moves(line: Line, state: Path) -> None:
    messages: list[str] = []
    for version, fence in (("1", "70"), ("2", "50")):
        line.up_to_archive(f"run-{version}", fence=fence)
        assert deploy(line, state, f"run-{version}", messages).promoted
        check_served(line, state, version)
    assert not [message for message in messages if "did not end" in message]
    time.sleep(2 * TRIAL_SECONDS)
    check_served(line, state, "2")


def test_an_expired_trial_is_repeated(line: Line, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example, the machine was suspended: no thread has renewed the trial."""
    monkeypatch.setattr(TrialRenewal, "start", lambda *_: None)
    messages: list[str] = []
    for version, fence in (("1", "70"), ("2", "50")):
        line.up_to_archive(f"run-{version}", fence=fence)
        deploy(line, state, f"run-{version}", messages)
        check_served(line, state, version)
    assert len([message for message in messages if "did not end" in message]) == 2


def test_a_trial_that_expired_and_cannot_be_repeated_exits_with_6(
    line: Line, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line.up_to_archive("run-1", fence="70")
    deploy(line, state, "run-1", [])
    line.up_to_archive("run-2")
    calls = iter([False, True])
    load = LocalTarget.begin_trial

    def load_once(target: LocalTarget, name: str, archive: Path, digest: str) -> None:
        if next(calls):
            raise TransientError("the server does not answer")
        load(target, name, archive, digest)

    monkeypatch.setattr(TrialRenewal, "start", lambda *_: None)
    monkeypatch.setattr(LocalTarget, "begin_trial", load_once)
    monkeypatch.setattr("components.deploy_serving.__main__.open_registry", SlowRegistryContext)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", line.registry.uri)
    monkeypatch.setenv("CT_STORE", str(line.store.root))
    monkeypatch.setenv("CT_STATE", str(state))
    output = str(line.folder / "deployed.json")
    assert main(["--archive", str(line.folder / "run-2/archive"), "--output", output]) == 6
    error = capsys.readouterr().err
    assert "its trial at the endpoint could not be ended: the server does not answer" in error
    assert "To see the command that serves it at once:\npython -m pipelines.status" in error


class SlowRegistryContext:
    """Replaces `open_registry`."""

    def __init__(self, uri: str, *_: str) -> None:
        self.registry = SlowRegistry(uri)

    def __enter__(self) -> Registry:
        return self.registry

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""
