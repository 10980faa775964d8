"""The model registry with a real MLflow server and with simulated faulty servers."""

from __future__ import annotations

import json
import threading
from datetime import datetime, tzinfo
from typing import Any

import pytest

from continuous_training.adapters import alias_history
from continuous_training.adapters import mlflow_rest as module
from continuous_training.adapters.model_registry import CHALLENGER, CHAMPION, PREVIOUS, ModelVersion, Registry
from continuous_training.core.errors import TransientError, UserError
from tests.fakes import Web, free_port, web


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait between attempts."""
    monkeypatch.setattr(module.time, "sleep", lambda _: None)


def add(registry: Registry, name: str, digest: str) -> ModelVersion:
    tags = {"archive_digest": digest, "archive_key": f"archives/{name}/{digest}.mar"}
    return registry.register(name, registry.run(name, f"run of {digest}"), tags)


def trail(registry: Registry, name: str) -> list[dict[str, Any]]:
    """Return the alias history in order, from the tags of the registered model."""
    url = f"{registry.uri}/api/2.0/mlflow/registered-models/get"
    tags = registry.session.get(url, params={"name": name}, timeout=10).json()["registered_model"]["tags"]
    moves = sorted((tag["key"], tag["value"]) for tag in tags if tag["key"].startswith("moved."))
    return [json.loads(value) for _, value in moves]


def forward(registry: Registry, proxy: Web) -> tuple[int, Any]:
    """Return the answer of the real server to the last request of a proxy."""
    method, path, body = proxy.requests[-1]
    headers = {"content-type": "application/json"}
    answer = registry.session.request(method, registry.uri + path, data=body, headers=headers, timeout=10)
    return answer.status_code, answer.content


def writes(proxy: Web) -> list[tuple[str, str]]:
    """Return the method of each request that changes something, with the alias that it changes."""
    bodies = [(method, json.loads(body)) for method, _, body in proxy.requests if method != "GET"]
    return [
        (method, body["alias"] if "alias" in body else f"record {json.loads(body['value'])['alias']}")
        for method, body in bodies
    ]


def test_an_unknown_model_has_no_champion_and_no_versions(registry: Registry, name: str) -> None:
    assert registry.champion(name) is None
    assert registry.find(name, "d1") is None
    assert (registry.aliases(name), registry.alias_history(name)) == ({}, [])


def test_a_run_is_created_once_and_its_data_can_be_logged_again(registry: Registry, name: str) -> None:
    run = registry.run(name, "pipeline-1")
    assert registry.run(name, "pipeline-1") == run
    assert registry.run(name, "pipeline-2") != run
    for _ in range(2):
        registry.log(run, {"seed": 0}, {"accuracy": 0.99}, {"verdict": "promoted", "long": "x" * 9000})
        registry.log_file(run, "report.html", "<p>réport".encode())
        registry.end(run)
    url = f"{registry.uri}/api/2.0/mlflow"
    stored = registry.session.get(f"{url}/runs/get", params={"run_id": run}, timeout=10).json()["run"]
    assert stored["info"]["status"] == "FINISHED"
    assert {p["key"]: p["value"] for p in stored["data"]["params"]} == {"seed": "0"}
    assert {m["key"]: m["value"] for m in stored["data"]["metrics"]} == {"accuracy": 0.99}
    tags = {tag["key"]: tag["value"] for tag in stored["data"]["tags"]}
    assert (tags["pipeline_run"], tags["verdict"], len(tags["long"])) == ("pipeline-1", "promoted", 5000)
    artifacts = registry.session.get(f"{url}/artifacts/list", params={"run_id": run}, timeout=10).json()
    assert [file["path"] for file in artifacts["files"]] == ["report.html"]


def test_the_metrics_of_many_columns_are_logged(registry: Registry, name: str) -> None:
    run = registry.run(name, "pipeline-1")
    metrics = {f"drift_x{index}": index / 7 for index in range(1200)}
    registry.log(run, {"seed": 0}, metrics, {"verdict": "promoted"})
    url = f"{registry.uri}/api/2.0/mlflow/runs/get"
    data = registry.session.get(url, params={"run_id": run}, timeout=10).json()["run"]["data"]
    assert {metric["key"]: metric["value"] for metric in data["metrics"]} == metrics
    assert [parameter["key"] for parameter in data["params"]] == ["seed"]


def test_an_archive_is_registered_once_and_can_be_looked_up_by_digest(registry: Registry, name: str) -> None:
    first, second = add(registry, name, "d1"), add(registry, name, "d2")
    assert add(registry, name, "d1") == first == registry.find(name, "d1")
    assert (first.version, second.version) == ("1", "2")
    assert (first.digest, first.archive) == ("d1", f"archives/{name}/d1.mar")
    assert registry.find(f"{name}x", "d1") is None


def test_a_version_without_the_tags_of_the_archive_step_is_a_user_error(
    registry: Registry, name: str
) -> None:
    add(registry, name, "d1")
    version = ModelVersion(name, "1", "run", {"archive_key": "key"})
    assert version.archive == "key"
    with pytest.raises(UserError, match=f"version 1 of {name} has no tag archive_digest: the archive step"):
        assert version.digest


def test_the_tag_of_a_version_is_replaced_and_a_long_value_is_truncated(
    registry: Registry, name: str
) -> None:
    version = add(registry, name, "d1")
    for value in ("first", "x" * 5001):
        registry.tag(version, "why", value)
    stored = registry.find(name, "d1")
    assert stored is not None
    assert stored.tags == {**version.tags, "why": "x" * 5000}


def test_concurrent_registrations_of_an_archive_create_one_version(registry: Registry, name: str) -> None:
    add(registry, name, "d0")
    barrier = threading.Barrier(4)
    versions: list[ModelVersion] = []

    def register(number: int) -> None:
        client = Registry(registry.uri)
        run = client.run(name, f"run-{number}")
        barrier.wait()
        tags = {"archive_digest": "d1", "archive_key": "key"}
        versions.append(client.register(name, run, tags))

    threads = [threading.Thread(target=register, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    matching = [version for version in registry.versions(name) if version.digest == "d1"]
    assert len(matching) == 1
    assert {version.version for version in versions} == {matching[0].version}


def test_a_promotion_keeps_the_challenger_alias_of_another_version(registry: Registry, name: str) -> None:
    first, second = add(registry, name, "d1"), add(registry, name, "d2")
    registry.move_alias(name, CHALLENGER, second.version, "archived", "run-2")
    registry.promote(first, None, "reaches the floor", "run-1")
    assert registry.aliased(name, CHALLENGER) == second


def test_promotions_move_the_aliases_and_record_the_history(registry: Registry, name: str) -> None:
    first, second = add(registry, name, "d1"), add(registry, name, "d2")
    registry.move_alias(name, CHALLENGER, first.version, "archived", "run-1")
    registry.promote(first, None, "reaches the floor", "run-1")
    assert registry.champion(name) == first
    assert registry.aliased(name, PREVIOUS) is None
    assert registry.aliased(name, CHALLENGER) is None
    registry.move_alias(name, CHALLENGER, second.version, "archived", "run-2")
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
    assert registry.aliases(name) == {CHAMPION: "2", PREVIOUS: "1"}
    history = registry.alias_history(name)
    assert [move.to_json() for move in history] == trail(registry, name)
    assert sorted(move.time for move in history) == [move.time for move in history]


def test_an_alias_that_was_removed_can_move_to_the_same_version_again(registry: Registry, name: str) -> None:
    version = add(registry, name, "d1")
    for run in ("run-1", "run-2"):
        registry.move_alias(name, CHALLENGER, version.version, "archived", run)
        registry.remove_alias(name, CHALLENGER)
    assert [move["run"] for move in trail(registry, name)] == ["run-1", "run-2"]


def test_moves_at_the_same_time_have_records_of_their_own(
    registry: Registry, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StoppedClock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime(2027, 1, 1, tzinfo=tz)

    monkeypatch.setattr(alias_history, "datetime", StoppedClock)
    versions = [add(registry, name, digest).version for digest in ("d1", "d2", "d3")]
    for version in versions:
        registry.move_alias(name, CHAMPION, version, "a test", "run-1")
    moves = registry.alias_history(name)
    assert [move.to_version for move in moves] == versions
    assert [move.time for move in moves] == [f"2027-01-01T00:00:00.00000{n}Z" for n in range(3)]


def test_a_repeated_promotion_changes_nothing(registry: Registry, name: str) -> None:
    version = add(registry, name, "d1")
    for _ in range(2):
        registry.promote(version, None, "why", "run-1")
        registry.move_alias(name, CHAMPION, version.version, "why", "run-1")
        registry.remove_alias(name, CHALLENGER, version.version)
    assert len(trail(registry, name)) == 1


@pytest.mark.parametrize("expected", [None, "9"])
def test_a_version_replaces_only_the_champion_that_it_was_evaluated_against(
    registry: Registry, name: str, expected: str | None
) -> None:
    first, second = add(registry, name, "d1"), add(registry, name, "d2")
    registry.promote(first, None, "why", "run-1")
    message = f"is version 1 now, but version 2 was evaluated against {expected or 'none'}"
    with pytest.raises(TransientError, match=message):
        registry.promote(second, expected, "why", "run-2")
    assert registry.champion(name) == first
    assert registry.aliased(name, PREVIOUS) is None


def test_a_version_is_not_promoted_when_its_champion_was_removed(registry: Registry, name: str) -> None:
    with pytest.raises(TransientError, match="is none now"):
        registry.promote(add(registry, name, "d1"), "3", "why", "run-1")


def test_a_promotion_records_each_move_before_the_alias_moves(registry: Registry, name: str) -> None:
    first, second = add(registry, name, "d1"), add(registry, name, "d2")
    with web(lambda *_: forward(registry, proxy)) as proxy:
        client = Registry(proxy.url)
        client.move_alias(name, CHALLENGER, first.version, "archived", "run-1")
        client.promote(first, None, "why", "run-1")
        assert writes(proxy) == [
            ("POST", "record challenger"),
            ("POST", "challenger"),
            ("DELETE", "challenger"),
            ("POST", "record champion"),
            ("POST", "champion"),
        ]
        client.move_alias(name, CHALLENGER, second.version, "archived", "run-2")
        proxy.requests.clear()
        client.promote(second, "1", "is better", "run-2")
        assert writes(proxy) == [
            ("POST", "record previous"),
            ("POST", "previous"),
            ("DELETE", "challenger"),
            ("POST", "record champion"),
            ("POST", "champion"),
        ]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("failing", ["set-tag", "alias", "DELETE"])
def test_the_champions_alias_moves_last(registry: Registry, name: str, failing: str) -> None:
    """If an earlier request fails, the alias has not moved, and the rollout can be reverted."""
    first, second = add(registry, name, "d1"), add(registry, name, "d2")
    registry.promote(first, None, "why", "run-1")
    registry.move_alias(name, CHALLENGER, second.version, "archived", "run-2")

    def answer(method: str, path: str) -> tuple[int, Any]:
        body = proxy.requests[-1][2]
        if (method == failing or path.endswith(failing)) and (failing == "DELETE" or b"champion" in body):
            return 503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "busy"}
        return forward(registry, proxy)

    with web(answer) as proxy, pytest.raises(TransientError, match="answers 503"):
        Registry(proxy.url).promote(second, "1", "is better", "run-2")
    assert registry.champion(name) == first
    registry.promote(second, "1", "is better", "run-3")
    assert registry.champion(name) == second
    assert registry.aliased(name, PREVIOUS) == first
    moves = [(m["alias"], m["to"], m["run"]) for m in trail(registry, name) if m["alias"] == CHAMPION]
    assert moves == [(CHAMPION, "1", "run-1"), (CHAMPION, "2", "run-3")], "the move is recorded once"


@pytest.mark.parametrize("uri", ["", "mlflow.db", "sqlite:///mlflow.db", "databricks", "ftp://host"])
def test_an_invalid_address_raises_a_user_error(uri: str) -> None:
    with pytest.raises(UserError, match=r"give http\(s\)://HOST"):
        Registry(uri)


@pytest.mark.usefixtures("quick")
def test_an_unreachable_server_is_retried_and_raises_a_transient_error() -> None:
    with pytest.raises(TransientError, match=r"cannot be reached .* 4 times; check that it is running"):
        Registry(f"http://127.0.0.1:{free_port()}").champion("any")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "message", ["(sqlite3.IntegrityError) UNIQUE", "(psycopg2.errors.UniqueViolation) duplicate"]
)
def test_a_unique_constraint_error_of_a_concurrent_run_is_retried(message: str) -> None:
    answers = iter([(400, {"error_code": "BAD_REQUEST", "message": message}), (200, {})])
    with web(lambda *_: next(answers)) as server:
        Registry(server.url).log_dataset("run", "rows", "ab" * 32, "made:1000", "{}")
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_server_error_is_retried(status: int) -> None:
    answers = iter([(status, b"<html>busy"), (status, {"message": "busy"}), (200, {"run": 1})])
    with web(lambda *_: next(answers)) as server:
        assert Registry(server.url).post("runs/create", {}) == {"run": 1}
    assert len(server.requests) == 3


@pytest.mark.usefixtures("quick")
def test_repeated_server_errors_raise_a_transient_error_with_the_response() -> None:
    with web(lambda *_: (503, {"message": "no database"})) as server:
        with pytest.raises(TransientError, match=r"answers 503 \(no database\), 4 times"):
            Registry(server.url).champion("any")
        assert len(server.requests) == 4


@pytest.mark.parametrize("status", [401, 403])
def test_rejected_credentials_are_not_retried(status: int) -> None:
    with web(lambda *_: (status, b"no")) as server:
        with pytest.raises(UserError, match=r"refuses the credentials .* MLFLOW_TRACKING_TOKEN"):
            Registry(server.url, "user", "wrong").champion("any")
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer", [(404, b"<html>nothing here"), (200, b"<html>hello"), (200, [1]), (404, [1])]
)
def test_a_web_server_that_is_not_a_registry_raises_a_user_error(answer: tuple[int, Any]) -> None:
    with web(lambda *_: answer) as server, pytest.raises(UserError, match="is not MLflow"):
        Registry(server.url).champion("any")


def test_a_registry_that_does_not_proxy_artifacts_is_refused() -> None:
    answer = {"run": {"info": {"artifact_uri": "s3://bucket/1/artifacts"}}}
    message = r"does not proxy artifacts \(s3://.*--serve-artifacts"
    with web(lambda *_: (200, answer)) as server, pytest.raises(UserError, match=message):
        Registry(server.url).log_file("run", "a.txt", b"a")


@pytest.mark.parametrize(
    ("credentials", "header"),
    [({"token": "t"}, "Bearer t"), ({"user": "u", "password": "p"}, "Basic dTpw"), ({}, None)],
)
def test_credentials_are_sent(credentials: dict[str, str], header: str | None) -> None:
    request = Registry("http://host/", **credentials).session.prepare_request(
        module.requests.Request("GET", "http://host/")
    )
    assert request.headers.get("Authorization") == header


@pytest.mark.usefixtures("quick")
def test_a_rejected_request_raises_a_user_error_with_the_error_code(registry: Registry, name: str) -> None:
    add(registry, name, "d1")
    with pytest.raises(UserError, match="RESOURCE_DOES_NOT_EXIST"):
        registry.move_alias(name, CHAMPION, "77", "why", "run")
