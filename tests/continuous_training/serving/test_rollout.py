"""Versions that come and go while callers keep asking: no request may notice."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hammer import Hammer
from toy_models import make_archive

from continuous_training.artifacts.archive import Archive
from continuous_training.artifacts.archive_reader import read_manifest
from continuous_training.serving.errors import VersionMismatchError, VersionRejectedError
from continuous_training.serving.models.model_status import ModelStatus
from continuous_training.serving.process.client import ServerClient

WORK = "serving/work"


def load(endpoint: ServerClient, archive: Archive, within: float | None = None) -> ModelStatus:
    return endpoint.load("toy", archive.path, archive.digest, within)


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_versions_alternate_under_load_and_no_request_fails(
    endpoint: ServerClient, state: Path, tmp_path: Path
) -> None:
    versions = [make_archive(tmp_path, scale=scale) for scale in (2, 3)]
    load(endpoint, versions[0])
    scales = {archive.digest: scale for archive, scale in zip(versions, (2, 3), strict=True)}
    with Hammer(endpoint.running.url, scales) as hammer:
        for turn in range(1, 21):
            archive = versions[turn % 2]
            assert load(endpoint, archive, 30 if turn % 4 < 2 else None).digest == archive.digest
            assert endpoint.predict("toy", {"x": [1]}, archive.digest)["scale"] == scales[archive.digest]
            if turn % 4 < 2:
                endpoint.confirm("toy", archive.digest)
    assert hammer.faults == []
    assert all(hammer.answers[archive.digest] > 10 for archive in versions)
    assert until(lambda: len(list((state / WORK).iterdir())) == 1), "the former versions were not freed"


def test_wrong_golden_answers_are_refused_with_the_reasons_and_the_former_serves_on(
    endpoint: ServerClient, state: Path, tmp_path: Path
) -> None:
    good, wrong = make_archive(tmp_path), make_archive(tmp_path, scale=3, wrong=True)
    load(endpoint, good)
    with Hammer(endpoint.running.url, {good.digest: 2}) as hammer:
        for within in (None, 30):
            with pytest.raises(VersionRejectedError, match=r"y\[1\] is 7.5, expected 8.5") as refused:
                load(endpoint, wrong, within)
            assert len(refused.value.reasons) == 1
    assert hammer.faults == []
    assert endpoint.served("toy") == good.digest
    assert len(list((state / WORK).iterdir())) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"load_fails": True}, "fails to load: OSError: no such device"),
        ({"fails_after": 0}, "failed with RuntimeError"),
        ({"fails_after": 0, "error": "SystemExit"}, "failed with SystemExit"),
    ],
)
def test_a_handler_that_fails_at_load_is_refused(
    endpoint: ServerClient, tmp_path: Path, settings: dict, words: str
) -> None:
    broken = make_archive(tmp_path, **settings)
    with pytest.raises(VersionRejectedError, match=words):
        load(endpoint, broken)
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
def test_a_version_that_fails_live_is_shielded_during_probation_and_reverted(
    endpoint: ServerClient, tmp_path: Path, settings: dict
) -> None:
    good, bad = make_archive(tmp_path), make_archive(tmp_path, scale=3, **settings)
    load(endpoint, good)
    with Hammer(endpoint.running.url, {good.digest: 2, bad.digest: 3}) as hammer:
        load(endpoint, bad, 30)
        assert until(lambda: endpoint.models()[0].fallback_responses > 20)
        with pytest.raises(VersionMismatchError, match=good.digest[:12]):
            endpoint.predict("toy", {"x": [1]}, bad.digest)
        golden = read_manifest(bad.path).golden
        assert len(golden.check(lambda request: endpoint.predict("toy", request, bad.digest))) == 2
        assert endpoint.revert("toy", bad.digest).digest == good.digest
    assert hammer.faults == []
    assert hammer.answers[bad.digest] > 0
    assert endpoint.models()[0].phase == "serving"


def test_a_probation_that_nobody_confirms_ends_by_itself(endpoint: ServerClient, tmp_path: Path) -> None:
    good, new = make_archive(tmp_path), make_archive(tmp_path, scale=3)
    load(endpoint, good)
    with Hammer(endpoint.running.url, {good.digest: 2, new.digest: 3}) as hammer:
        status = load(endpoint, new, 0.5)
        assert (status.phase, status.previous_digest) == ("probation", good.digest)
        assert endpoint.served("toy") == new.digest
        assert until(lambda: endpoint.served("toy") == good.digest)
    assert hammer.faults == []
    assert hammer.answers[new.digest] > 0
    with pytest.raises(VersionRejectedError, match="cannot be confirmed"):
        endpoint.confirm("toy", new.digest)


def test_a_first_version_that_is_reverted_or_expires_is_served_no_longer(
    endpoint: ServerClient, tmp_path: Path
) -> None:
    first = make_archive(tmp_path)
    load(endpoint, first, 30)
    assert endpoint.revert("toy", first.digest) is None
    assert endpoint.served("toy") is None
    load(endpoint, first, 0.2)
    assert until(lambda: endpoint.served("toy") is None)


def test_loading_again_is_harmless(endpoint: ServerClient, tmp_path: Path) -> None:
    good, new = make_archive(tmp_path), make_archive(tmp_path, scale=3)
    loaded_at = load(endpoint, good)
    assert load(endpoint, good) == loaded_at
    assert load(endpoint, good, 5).phase == "serving"  # confirmed already
    assert load(endpoint, new, 0.4).trial_seconds_left <= 0.4
    assert load(endpoint, new, 30).trial_seconds_left > 20  # the time starts anew
    time.sleep(0.6)
    assert endpoint.served("toy") == new.digest
    assert load(endpoint, good).phase == "serving"  # the former one is put back
    load(endpoint, new, 30)
    assert load(endpoint, new).phase == "serving"  # without a time it is confirmed
    assert endpoint.confirm("toy", new.digest).phase == "serving"
    with pytest.raises(VersionRejectedError, match="is confirmed; load the version to go back to"):
        endpoint.revert("toy", new.digest)
    assert endpoint.revert("toy", good.digest).digest == new.digest  # it is not served: nothing to do


def test_a_newer_deploy_takes_the_place_of_one_on_probation(
    endpoint: ServerClient, state: Path, tmp_path: Path
) -> None:
    a, b, c = (make_archive(tmp_path, scale=scale) for scale in (2, 3, 4))
    load(endpoint, a)
    load(endpoint, b, 30)
    assert load(endpoint, c, 30).previous_digest == a.digest
    with pytest.raises(VersionRejectedError):
        endpoint.confirm("toy", b.digest)
    assert endpoint.revert("toy", c.digest).digest == a.digest
    assert len(list((state / WORK).iterdir())) == 1


def test_both_versions_can_be_asked_by_name_during_probation(endpoint: ServerClient, tmp_path: Path) -> None:
    good, bad = make_archive(tmp_path), make_archive(tmp_path, scale=3, fails_after=2)
    load(endpoint, good)
    load(endpoint, bad, 30)
    url = f"{endpoint.running.url}/v2/models/toy"
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
    answers = {
        where: endpoint.session.post(f"{url}{where}/infer", json=body)
        for where in ("", f"/versions/{good.digest[:12]}", f"/versions/{bad.digest[:12]}")
    }
    assert [answer.status_code for answer in answers.values()] == [200, 200, 500]
    assert answers[""].json()["model_version"] == good.digest[:12]
    assert endpoint.session.get(url).json()["versions"] == [bad.digest[:12], good.digest[:12]]


def test_two_models_are_served_and_unloaded_apart(endpoint: ServerClient, tmp_path: Path) -> None:
    toy, other = make_archive(tmp_path), make_archive(tmp_path, name="other", scale=5)
    load(endpoint, toy)
    endpoint.load("other", other.path, other.digest)
    assert endpoint.predict("other", {"x": [1]})["scale"] == 5
    response = endpoint.session.post(f"{endpoint.running.url}/predict", json={"x": [1]})
    assert response.status_code == 404
    assert "/predict/other, /predict/toy" in response.json()["error"]
    endpoint.unload("other")
    assert (endpoint.served("other"), endpoint.served("toy")) == (None, toy.digest)
