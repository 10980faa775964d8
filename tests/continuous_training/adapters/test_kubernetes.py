"""Requests to a simulated API server that fails; tests/cluster uses a real one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from continuous_training.adapters.kubernetes import retry
from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.connection import connect
from continuous_training.adapters.kubernetes.errors import (
    ConflictError,
    ForbiddenError,
    NotThereError,
    RefusedError,
)
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, NAMESPACE, POD
from continuous_training.adapters.kubernetes.watch import watch
from continuous_training.core.errors import PipelineError, TransientError, UserError
from tests.fakes import free_port

Answer = tuple[int, dict[str, str], Any]
OK: Answer = (200, {}, {"metadata": {"name": "one"}})


def refusal(code: int, message: str = "no", **headers: str) -> Answer:
    return code, headers, {"kind": "Status", "code": code, "message": message}


class Server:
    """Returns its responses in order; None closes the connection without a response."""

    def __init__(self, *responses: Answer | None) -> None:
        self.responses, self.requests = list(responses), list[str]()


@contextmanager
def serving(tmp_path: Path, server: Server, retry_budget: float = 10.0) -> Iterator[Cluster]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            server.requests.append(f"{self.command} {self.path}")
            response = server.responses.pop(0)
            if response is None:
                self.close_connection = True
                return
            code, headers, body = response
            lines = body if isinstance(body, list) else [body]
            text = "".join(json.dumps(line) + "\n" for line in lines).encode()
            self.send_response(code)
            for key, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PATCH = do_POST = do_PUT = do_DELETE = respond  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        try:
            yield connect("here", str(kubeconfig(tmp_path, http.server_port))).with_retry_budget(retry_budget)
        finally:
            http.shutdown()


@pytest.mark.parametrize("current", [None, "", "other"])
def test_a_context_can_be_selected_without_a_current_one(tmp_path: Path, current: str | None) -> None:
    path = kubeconfig(tmp_path, free_port())
    config = yaml.safe_load(path.read_text())
    config["contexts"][0]["context"]["namespace"] = "models"
    del config["current-context"]
    if current is not None:
        config["current-context"] = current
        config["contexts"].append({"name": "other", "context": {"cluster": "c", "user": "u"}})
    path.write_text(yaml.safe_dump(config))
    assert connect("", str(path), "x").namespace == "models"
    assert connect("given", str(path), "x").namespace == "given"
    if current == "other":
        assert connect("", str(path)).namespace == "default"
    else:
        with pytest.raises(UserError, match="no Kubernetes cluster is configured"):
            connect("", str(path))


def test_a_user_that_impersonates_another_one_is_rejected(tmp_path: Path) -> None:
    """The client ignores `as`: the requests would have the permissions of the user itself."""
    path = kubeconfig(tmp_path, free_port())
    config = yaml.safe_load(path.read_text())
    config["users"][0]["user"] |= {"as": "ben@example.com", "as-groups": []}
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"impersonates another user \(as\), which is not supported"):
        connect("", str(path))


def kubeconfig(folder: Path, port: int) -> Path:
    path = folder / "kubeconfig"
    context = {"cluster": "c", "user": "u", "namespace": "there"}
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": context}],
                "current-context": "x",
            }
        )
    )
    return path


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_BACKOFF", 0.01)
    monkeypatch.setattr(retry, "MAX_BACKOFF", 0.02)


@pytest.mark.parametrize(
    "failure", [None, refusal(500), refusal(503), refusal(429), refusal(409), refusal(504)]
)
def test_an_apply_is_retried_until_it_succeeds(tmp_path: Path, failure: Answer | None) -> None:
    server = Server(failure, failure, OK)
    with serving(tmp_path, server) as cluster:
        assert cluster.apply(DEPLOYMENT, {"metadata": {"name": "one"}})["metadata"]["name"] == "one"
    path = "/apis/apps/v1/namespaces/here/deployments/one?fieldManager=continuous-training&force=true"
    assert server.requests == [f"PATCH {path}"] * 3


def test_a_throttled_request_waits_for_the_retry_after_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", waits.append)
    with serving(tmp_path, Server(refusal(429, Retry_After="3"), OK)) as cluster:
        assert cluster.get(POD, "one") is not None
    assert waits == [3.0]


def test_a_conflict_of_a_replace_is_not_retried(tmp_path: Path) -> None:
    server = Server(refusal(409, "the object has been modified"))
    with serving(tmp_path, server) as cluster, pytest.raises(ConflictError, match="has been modified"):
        cluster.replace(POD, {"metadata": {"name": "one"}})
    assert len(server.requests) == 1


def test_an_exhausted_retry_budget_raises_the_last_error(tmp_path: Path) -> None:
    server = Server(*[refusal(503, "etcd is unavailable")] * 1000)
    with (
        serving(tmp_path, server, retry_budget=0.1) as cluster,
        pytest.raises(TransientError, match="etcd is unavailable"),
    ):
        cluster.find(POD)


def test_an_unreachable_server_raises_a_transient_error(tmp_path: Path) -> None:
    cluster = connect("", str(kubeconfig(tmp_path, free_port()))).with_retry_budget(0.1)
    assert cluster.namespace == "there"
    with pytest.raises(TransientError, match=r"could not get Pod x: the API server .* does not answer"):
        cluster.get(POD, "x")


ROLE = 'deployments.apps "one" is forbidden: User "u" cannot patch resource "deployments" in API group "apps"'


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (refusal(403, ROLE), ForbiddenError, "verb patch on deployments of API group 'apps'"),
        (refusal(403, ROLE), ForbiddenError, r"\(manifests/base/role.yaml\)"),
        (
            refusal(403, ROLE.replace('"apps"', '"serving.kserve.io"')),
            ForbiddenError,
            r"\(manifests/components/kserve/role.yaml\)",
        ),
        (refusal(403, "exceeded quota: small"), RefusedError, "refused to apply Deployment one: exceeded"),
        (refusal(422, "spec.replicas: Invalid value"), RefusedError, "spec.replicas: Invalid value"),
        (refusal(404, "the server could not find the requested resource"), NotThereError, "could not find"),
        (refusal(401, "Unauthorized"), UserError, "does not know the kubeconfig's user"),
        ((418, {}, "short and stout"), PipelineError, "HTTP 418"),
    ],
)
def test_a_rejected_request_raises_a_helpful_error_and_is_not_retried(
    tmp_path: Path, answer: Answer, kind: type[PipelineError], message: str
) -> None:
    server = Server(answer)
    with serving(tmp_path, server) as cluster, pytest.raises(kind, match=message):
        cluster.apply(DEPLOYMENT, {"metadata": {"name": "one"}})
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [401, 403])
def test_a_server_that_has_just_started_may_reject_credentials_temporarily(tmp_path: Path, code: int) -> None:
    with serving(tmp_path, Server(None, refusal(code), refusal(code), OK)) as cluster:
        assert cluster.get(POD, "one") is not None


def object_list(version: str, *names: str) -> Answer:
    items = [{"metadata": {"name": name}} for name in names]
    return 200, {}, {"metadata": {"resourceVersion": version}, "items": items}


def event(kind: str, name: str, version: str) -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"name": name, "resourceVersion": version}}}


def names(states: list[list[dict[str, Any]]]) -> list[list[str]]:
    return [[item["metadata"]["name"] for item in objects] for objects in states]


def test_a_watch_yields_each_change_and_continues_from_the_last_version(tmp_path: Path) -> None:
    server = Server(
        object_list("5", "a"),
        (200, {}, [event("ADDED", "b", "6"), event("DELETED", "a", "7"), event("BOOKMARK", "", "9")]),
        (200, {}, [event("MODIFIED", "b", "10")]),
    )
    with serving(tmp_path, server) as cluster:
        states = list(islice(watch(cluster, POD, "x=y", 60), 5))
    assert names(states) == [["a"], ["a", "b"], ["b"], ["b"], ["b"]]
    assert [path.partition("resourceVersion=")[2].partition("&")[0] for path in server.requests] == [
        "",
        "5",
        "9",
    ]


EXPIRED = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}


@pytest.mark.parametrize("cut", [(200, {}, [EXPIRED]), refusal(410, "too old"), None, refusal(503)])
def test_a_watch_that_expires_or_is_interrupted_lists_again(tmp_path: Path, cut: Answer | None) -> None:
    server = Server(object_list("5", "a"), cut, object_list("8", "c"), (200, {}, [event("ADDED", "d", "9")]))
    with serving(tmp_path, server) as cluster:
        states = list(islice(watch(cluster, POD, "", 60), 3))
    assert names(states) == [["a"], ["c"], ["c", "d"]]


def test_a_forbidden_watch_raises_an_error(tmp_path: Path) -> None:
    server = Server(object_list("5"), refusal(403, 'User "u" cannot watch resource "pods" in API group ""'))
    with serving(tmp_path, server) as cluster, pytest.raises(ForbiddenError, match="verb watch on pods"):
        list(watch(cluster, POD, "", 60))


def test_a_watch_ends_at_its_timeout(tmp_path: Path) -> None:
    start = time.monotonic()
    with serving(tmp_path, Server(object_list("5", "a"))) as cluster:
        assert names(list(watch(cluster, POD, "", 0))) == [["a"]]
    assert time.monotonic() - start < 30


def test_a_missing_kubeconfig_raises_an_error_that_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="set KUBECONFIG"):
        connect("", str(tmp_path / "nothing"))


def test_resource_paths() -> None:
    assert POD.path("n", "p", "log") == "/api/v1/namespaces/n/pods/p/log"
    assert NAMESPACE.path("n", "x") == "/api/v1/namespaces/x"
    assert (DEPLOYMENT.group, POD.group) == ("apps", "")
