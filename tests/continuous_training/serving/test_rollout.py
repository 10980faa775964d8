"""Switches between versions under load: loading, trials, fallback, confirming and reverting."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from load_generator import LoadGenerator
from toy_models import make_archive

from continuous_training.artifacts.archive_reader import read_manifest
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.serving.errors import VersionMismatchError, VersionRejectedError
from continuous_training.serving.models.model_status import ModelStatus
from continuous_training.serving.process.client import ServerClient


def load(endpoint: ServerClient, archive: Archive, confirm_within: float | None = None) -> ModelStatus:
    return endpoint.load("toy", archive.path, archive.digest, confirm_within)


def unpacked_folders(state: Path) -> list[Path]:
    (work,) = (state / "serving").glob(".work-*.tmp")
    return list(work.iterdir())


def becomes_true(condition: Callable[[], bool], timeout: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_no_request_fails_while_versions_alternate(
    endpoint: ServerClient, state: Path, tmp_path: Path
) -> None:
    versions = [make_archive(tmp_path, scale=scale) for scale in (2, 3)]
    load(endpoint, versions[0])
    scales = {archive.digest: scale for archive, scale in zip(versions, (2, 3), strict=True)}
    with LoadGenerator(endpoint.running.url, scales) as clients:
        for turn in range(1, 21):
            archive = versions[turn % 2]
            assert load(endpoint, archive, 30 if turn % 4 < 2 else None).digest == archive.digest
            assert endpoint.predict("toy", {"x": [1]}, archive.digest)["scale"] == scales[archive.digest]
            if turn % 4 < 2:
                endpoint.confirm("toy", archive.digest)
    assert clients.failures == []
    assert all(clients.responses[archive.digest] > 10 for archive in versions)
    assert becomes_true(lambda: len(unpacked_folders(state)) == 1), "the replaced versions were not unloaded"


def test_a_version_with_wrong_golden_responses_is_rejected_with_the_reasons(
    endpoint: ServerClient, state: Path, tmp_path: Path
) -> None:
    stable, mismatching = make_archive(tmp_path), make_archive(tmp_path, scale=3, wrong=True)
    load(endpoint, stable)
    with LoadGenerator(endpoint.running.url, {stable.digest: 2}) as clients:
        for confirm_within in (None, 30):
            with pytest.raises(VersionRejectedError, match=r"y\[1\] is 7.5, expected 8.5") as rejected:
                load(endpoint, mismatching, confirm_within)
            assert len(rejected.value.reasons) == 1
    assert clients.failures == []
    assert endpoint.served("toy") == stable.digest
    assert len(unpacked_folders(state)) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"load_fails": True}, "fails to load: OSError: no such device"),
        ({"fails_after": 0}, "failed with RuntimeError"),
        ({"fails_after": 0, "error": "SystemExit"}, "failed with SystemExit"),
    ],
)
def test_a_version_that_fails_to_load_is_rejected(
    endpoint: ServerClient, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    failing = make_archive(tmp_path, **settings)
    with pytest.raises(VersionRejectedError, match=message):
        load(endpoint, failing)
    assert endpoint.models() == []


@pytest.mark.parametrize(
    "settings",
    [
        {"fails_after": 20},
        {"fails_after": 20, "error": "ValueError"},
        {"fails_after": 20, "error": "SystemExit"},
        {"nan_after": 20},
    ],
    ids=str,
)
def test_the_previous_version_answers_the_failed_requests_of_a_trial(
    endpoint: ServerClient, tmp_path: Path, settings: dict[str, Any]
) -> None:
    stable, failing = make_archive(tmp_path), make_archive(tmp_path, scale=3, **settings)
    load(endpoint, stable)
    with LoadGenerator(endpoint.running.url, {stable.digest: 2, failing.digest: 3}) as clients:
        load(endpoint, failing, 30)
        assert becomes_true(lambda: endpoint.models()[0].fallback_responses > 20)
        with pytest.raises(VersionMismatchError, match=stable.digest[:12]):
            endpoint.predict("toy", {"x": [1]}, failing.digest)
        golden = read_manifest(failing.path).golden
        assert len(golden.check(lambda request: endpoint.predict("toy", request, failing.digest))) == 2
        reverted = endpoint.revert("toy", failing.digest)
        assert reverted is not None
        assert reverted.digest == stable.digest
    assert clients.failures == []
    assert clients.responses[failing.digest] > 0
    assert endpoint.models()[0].phase == "serving"


def test_a_trial_that_is_not_confirmed_in_time_is_reverted(endpoint: ServerClient, tmp_path: Path) -> None:
    stable, new = make_archive(tmp_path), make_archive(tmp_path, scale=3)
    load(endpoint, stable)
    with LoadGenerator(endpoint.running.url, {stable.digest: 2, new.digest: 3}) as clients:
        status = load(endpoint, new, 0.5)
        assert (status.phase, status.previous_digest) == ("probation", stable.digest)
        assert endpoint.served("toy") == new.digest
        assert becomes_true(lambda: endpoint.served("toy") == stable.digest)
    assert clients.failures == []
    assert clients.responses[new.digest] > 0
    with pytest.raises(VersionRejectedError, match="cannot be confirmed"):
        endpoint.confirm("toy", new.digest)


def test_a_first_version_that_is_reverted_or_expires_is_unloaded(
    endpoint: ServerClient, tmp_path: Path
) -> None:
    first = make_archive(tmp_path)
    load(endpoint, first, 30)
    assert endpoint.revert("toy", first.digest) is None
    assert endpoint.served("toy") is None
    load(endpoint, first, 0.2)
    assert becomes_true(lambda: endpoint.served("toy") is None)


def test_loading_a_loaded_version_renews_reverts_or_confirms_its_trial(
    endpoint: ServerClient, tmp_path: Path
) -> None:
    stable, new = make_archive(tmp_path), make_archive(tmp_path, scale=3)
    status = load(endpoint, stable)
    assert load(endpoint, stable) == status
    assert load(endpoint, stable, 5).phase == "serving", "a confirmed version is not on trial again"
    remaining = load(endpoint, new, 0.4).trial_seconds_left
    assert remaining is not None
    assert remaining <= 0.4
    renewed = load(endpoint, new, 30).trial_seconds_left
    assert renewed is not None
    assert renewed > 20
    time.sleep(0.6)
    assert endpoint.served("toy") == new.digest
    assert load(endpoint, stable).phase == "serving", "loading the previous version reverts the trial"
    load(endpoint, new, 30)
    assert load(endpoint, new).phase == "serving", "loading without a time confirms the trial"
    assert endpoint.confirm("toy", new.digest).phase == "serving"
    with pytest.raises(VersionRejectedError, match="is confirmed; load the version to go back to"):
        endpoint.revert("toy", new.digest)
    unchanged = endpoint.revert("toy", stable.digest)
    assert unchanged is not None
    assert unchanged.digest == new.digest, "a version that is not served cannot be reverted"


def test_a_version_replaces_another_one_on_trial(endpoint: ServerClient, state: Path, tmp_path: Path) -> None:
    a, b, c = (make_archive(tmp_path, scale=scale) for scale in (2, 3, 4))
    load(endpoint, a)
    load(endpoint, b, 30)
    assert load(endpoint, c, 30).previous_digest == a.digest
    with pytest.raises(VersionRejectedError):
        endpoint.confirm("toy", b.digest)
    reverted = endpoint.revert("toy", c.digest)
    assert reverted is not None
    assert reverted.digest == a.digest
    assert len(unpacked_folders(state)) == 1


def test_both_versions_of_a_trial_have_v2_endpoints(endpoint: ServerClient, tmp_path: Path) -> None:
    stable, failing = make_archive(tmp_path), make_archive(tmp_path, scale=3, fails_after=2)
    load(endpoint, stable)
    load(endpoint, failing, 30)
    url = f"{endpoint.running.url}/v2/models/toy"
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
    responses = {
        path: endpoint.session.post(f"{url}{path}/infer", json=body)
        for path in ("", f"/versions/{stable.digest[:12]}", f"/versions/{failing.digest[:12]}")
    }
    assert [response.status_code for response in responses.values()] == [200, 200, 500]
    assert responses[""].json()["model_version"] == stable.digest[:12]
    assert endpoint.session.get(url).json()["versions"] == [failing.digest[:12], stable.digest[:12]]


def test_two_models_are_served_and_unloaded_independently(endpoint: ServerClient, tmp_path: Path) -> None:
    toy, other = make_archive(tmp_path), make_archive(tmp_path, name="other", scale=5)
    load(endpoint, toy)
    endpoint.load("other", other.path, other.digest)
    assert endpoint.predict("other", {"x": [1]})["scale"] == 5
    response = endpoint.session.post(f"{endpoint.running.url}/predict", json={"x": [1]})
    assert response.status_code == 404
    assert "/predict/other, /predict/toy" in response.json()["error"]
    endpoint.unload("other")
    assert (endpoint.served("other"), endpoint.served("toy")) == (None, toy.digest)
