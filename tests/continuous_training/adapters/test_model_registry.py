"""The registry, against a real MLflow server, and against servers that are in trouble."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from continuous_training.adapters import mlflow_rest as module
from continuous_training.adapters.model_registry import CHALLENGER, CHAMPION, PREVIOUS, ModelVersion, Registry
from continuous_training.core.errors import TransientError, UserError
from tests.fakes import free_port, web


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait between tries."""
    monkeypatch.setattr(module.time, "sleep", lambda _: None)


def add(registry: Registry, name: str, digest: str) -> ModelVersion:
    tags = {"archive_digest": digest, "archive_key": f"archives/{name}/{digest}.mar"}
    return registry.register(name, registry.run(name, f"run of {digest}"), tags)


def trail(registry: Registry, name: str) -> list[dict[str, Any]]:
    """What the moves of aliases left as tags of the registered model, in order."""
    url = f"{registry.uri}/api/2.0/mlflow/registered-models/get"
    tags = registry.session.get(url, params={"name": name}, timeout=10).json()["registered_model"]["tags"]
    moved = sorted((tag["key"], tag["value"]) for tag in tags if tag["key"].startswith("moved."))
    return [json.loads(value) for _, value in moved]


def test_an_unknown_model_has_no_champion_and_no_versions(registry: Registry, name: str) -> None:
    assert registry.champion(name) is None
    assert registry.find(name, "d1") is None


def test_a_run_is_made_once_and_its_record_may_be_written_again(registry: Registry, name: str) -> None:
    run = registry.run(name, "pipeline-1")
    assert registry.run(name, "pipeline-1") == run
    assert registry.run(name, "pipeline-2") != run
    for _ in range(2):
        registry.log(run, {"seed": 0}, {"accuracy": 0.99}, {"verdict": "promoted", "long": "x" * 9000})
        registry.log_file(run, "report.html", "<p>réport".encode())
        registry.end(run)
    url = f"{registry.uri}/api/2.0/mlflow"
    found = registry.session.get(f"{url}/runs/get", params={"run_id": run}, timeout=10).json()["run"]
    assert found["info"]["status"] == "FINISHED"
    assert {p["key"]: p["value"] for p in found["data"]["params"]} == {"seed": "0"}
    assert {m["key"]: m["value"] for m in found["data"]["metrics"]} == {"accuracy": 0.99}
    tags = {tag["key"]: tag["value"] for tag in found["data"]["tags"]}
    assert (tags["pipeline_run"], tags["verdict"], len(tags["long"])) == ("pipeline-1", "promoted", 5000)
    listed = registry.session.get(f"{url}/artifacts/list", params={"run_id": run}, timeout=10).json()
    assert [file["path"] for file in listed["files"]] == ["report.html"]


def test_an_archive_is_registered_once_and_found_by_its_digest(registry: Registry, name: str) -> None:
    first, second = add(registry, name, "d1"), add(registry, name, "d2")
    assert add(registry, name, "d1") == first == registry.find(name, "d1")
    assert (first.version, second.version) == ("1", "2")
    assert (first.digest, first.archive) == ("d1", f"archives/{name}/d1.mar")
    assert registry.find(f"{name}x", "d1") is None


def test_two_who_register_one_archive_at_once_get_one_version(registry: Registry, name: str) -> None:
    add(registry, name, "d0")
    everyone = threading.Barrier(4)
    found: list[ModelVersion] = []

    def register(number: int) -> None:
        own = Registry(registry.uri)
        run = own.run(name, f"run-{number}")
        everyone.wait()
        tags = {"archive_digest": "d1", "archive_key": "key"}
        found.append(own.register(name, run, tags))

    threads = [threading.Thread(target=register, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = [version for version in registry.versions(name) if version.digest == "d1"]
    assert len(kept) == 1
    assert {version.version for version in found} == {kept[0].version}


def test_anothers_alias_is_not_taken_away(registry: Registry, name: str) -> None:
    first, second = add(registry, name, "d1"), add(registry, name, "d2")
    registry.point(name, CHALLENGER, second.version, "archived", "run-2")
    registry.promote(first, None, "reaches the floor", "run-1")
    assert registry.aliased(name, CHALLENGER) == second


def test_promotions_move_the_aliases_and_leave_a_trail(registry: Registry, name: str) -> None:
    first, second = add(registry, name, "d1"), add(registry, name, "d2")
    registry.point(name, CHALLENGER, first.version, "archived", "run-1")
    registry.promote(first, None, "reaches the floor", "run-1")
    assert registry.champion(name) == first
    assert registry.aliased(name, PREVIOUS) is None
    assert registry.aliased(name, CHALLENGER) is None
    registry.point(name, CHALLENGER, second.version, "archived", "run-2")
    registry.promote(second, "1", "is better", "run-2")
    assert registry.champion(name) == second
    assert registry.aliased(name, PREVIOUS) == first
    assert registry.aliased(name, CHALLENGER) is None
    moves = [
        (move["alias"], move["from"], move["to"], move["why"], move["run"]) for move in trail(registry, name)
    ]
    assert moves == [
        (CHALLENGER, None, "1", "archived", "run-1"),
        (CHAMPION, None, "1", "reaches the floor", "run-1"),
        (CHALLENGER, None, "2", "archived", "run-2"),
        (PREVIOUS, None, "1", "is better", "run-2"),
        (CHAMPION, "1", "2", "is better", "run-2"),
    ]


def test_promoting_and_pointing_again_change_nothing(registry: Registry, name: str) -> None:
    version = add(registry, name, "d1")
    for _ in range(2):
        registry.promote(version, None, "why", "run-1")
        registry.point(name, CHAMPION, version.version, "why", "run-1")
        registry.remove_alias(name, CHALLENGER, version.version)
    assert len(trail(registry, name)) == 1


@pytest.mark.parametrize("expected", [None, "9"])
def test_a_version_is_promoted_over_the_champion_that_it_was_judged_against_alone(
    registry: Registry, name: str, expected: str | None
) -> None:
    first, second = add(registry, name, "d1"), add(registry, name, "d2")
    registry.promote(first, None, "why", "run-1")
    words = f"is version 1 now, but version 2 was evaluated against {expected or 'none'}"
    with pytest.raises(TransientError, match=words):
        registry.promote(second, expected, "why", "run-2")
    assert registry.champion(name) == first
    assert registry.aliased(name, PREVIOUS) is None


def test_a_version_that_was_judged_against_a_champion_that_went_is_not_promoted(
    registry: Registry, name: str
) -> None:
    with pytest.raises(TransientError, match="is none now"):
        registry.promote(add(registry, name, "d1"), "3", "why", "run-1")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("failing", ["set-tag", "alias", "DELETE"])
def test_the_champions_alias_moves_last(registry: Registry, name: str, failing: str) -> None:
    """Whatever fails on the way, the alias has not moved, so that the rollout can be taken back."""
    first, second = add(registry, name, "d1"), add(registry, name, "d2")
    registry.promote(first, None, "why", "run-1")
    registry.point(name, CHALLENGER, second.version, "archived", "run-2")

    def forward(method: str, path: str) -> tuple[int, Any]:
        """The real server, but for one kind of call."""
        body = proxy.requests[-1][2]
        if (method == failing or path.endswith(failing)) and (failing == "DELETE" or b"champion" in body):
            return 503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "busy"}
        headers = {"content-type": "application/json"}
        answer = registry.session.request(method, registry.uri + path, data=body, headers=headers, timeout=10)
        return answer.status_code, answer.content

    with web(forward) as proxy, pytest.raises(TransientError, match="answers 503"):
        Registry(proxy.url).promote(second, "1", "is better", "run-2")
    assert registry.champion(name) == first
    registry.promote(second, "1", "is better", "run-2")
    assert registry.champion(name) == second
    assert registry.aliased(name, PREVIOUS) == first


@pytest.mark.parametrize("uri", ["", "mlflow.db", "sqlite:///mlflow.db", "databricks", "ftp://host"])
def test_an_address_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(UserError, match=r"give http\(s\)://HOST"):
        Registry(uri)


@pytest.mark.usefixtures("quick")
def test_a_server_that_is_down_is_tried_again_and_then_told() -> None:
    with pytest.raises(TransientError, match=r"cannot be reached .* 4 times; check that it is running"):
        Registry(f"http://127.0.0.1:{free_port()}").champion("any")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "words", ["(sqlite3.IntegrityError) UNIQUE", "(psycopg2.errors.UniqueViolation) duplicate"]
)
def test_a_row_that_another_run_made_in_the_same_moment_is_found_on_the_next_try(words: str) -> None:
    answers = iter([(400, {"error_code": "BAD_REQUEST", "message": words}), (200, {})])
    with web(lambda *_: next(answers)) as server:
        Registry(server.url).log_dataset("run", "rows", "ab" * 32, "made:1000", "{}")
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_server_that_stumbles_is_asked_again(status: int) -> None:
    answers = iter([(status, b"<html>busy"), (status, {"message": "busy"}), (200, {"run": 1})])
    with web(lambda *_: next(answers)) as server:
        assert Registry(server.url).post("runs/create", {}) == {"run": 1}
    assert len(server.requests) == 3


@pytest.mark.usefixtures("quick")
def test_a_server_that_stays_down_is_told_with_its_words() -> None:
    with web(lambda *_: (503, {"message": "no database"})) as server:
        with pytest.raises(TransientError, match=r"answers 503 \(no database\), 4 times"):
            Registry(server.url).champion("any")
        assert len(server.requests) == 4


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_told_at_once(status: int) -> None:
    with web(lambda *_: (status, b"no")) as server:
        with pytest.raises(UserError, match=r"refuses the credentials .* MLFLOW_TRACKING_TOKEN"):
            Registry(server.url, "user", "wrong").champion("any")
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer", [(404, b"<html>nothing here"), (200, b"<html>hello"), (200, [1]), (404, [1])]
)
def test_a_web_server_that_is_no_registry_is_told(answer: tuple[int, Any]) -> None:
    with web(lambda *_: answer) as server, pytest.raises(UserError, match=f"registry {server.url}"):
        Registry(server.url).champion("any")


def test_a_registry_that_does_not_proxy_artifacts_is_refused() -> None:
    answer = {"run": {"info": {"artifact_uri": "s3://bucket/1/artifacts"}}}
    words = r"does not proxy artifacts \(s3://.*--serve-artifacts"
    with web(lambda *_: (200, answer)) as server, pytest.raises(UserError, match=words):
        Registry(server.url).log_file("run", "a.txt", b"a")


@pytest.mark.parametrize(
    ("given", "header"),
    [({"token": "t"}, "Bearer t"), ({"user": "u", "password": "p"}, "Basic dTpw"), ({}, None)],
)
def test_credentials_are_sent(given: dict[str, str], header: str | None) -> None:
    prepared = Registry("http://host/", **given).session.prepare_request(
        module.requests.Request("GET", "http://host/")
    )
    assert prepared.headers.get("Authorization") == header


@pytest.mark.usefixtures("quick")
def test_what_a_server_refuses_is_told_with_its_reason(registry: Registry, name: str) -> None:
    add(registry, name, "d1")
    with pytest.raises(UserError, match="RESOURCE_DOES_NOT_EXIST"):
        registry.point(name, CHAMPION, "77", "why", "run")
