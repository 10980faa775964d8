"""What a request to an API server that has troubles comes to; tests/cluster has the real one."""

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
    """Gives its answers one after the other; None closes the connection without one."""

    def __init__(self, *answers: Answer | None) -> None:
        self.answers, self.asked = list(answers), list[str]()


@contextmanager
def serving(tmp_path: Path, server: Server, retry_budget: float = 10.0) -> Iterator[Cluster]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            server.asked.append(f"{self.command} {self.path}")
            given = server.answers.pop(0)
            if given is None:
                self.close_connection = True
                return
            code, headers, body = given
            lines = body if isinstance(body, list) else [body]
            text = "".join(json.dumps(line) + "\n" for line in lines).encode()
            self.send_response(code)
            for key, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PATCH = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        try:
            yield connect("here", str(kubeconfig(tmp_path, http.server_port))).with_retry_budget(retry_budget)
        finally:
            http.shutdown()


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
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_BACKOFF", 0.01)
    monkeypatch.setattr(retry, "MAX_BACKOFF", 0.02)


@pytest.mark.parametrize(
    "trouble", [None, refusal(500), refusal(503), refusal(429), refusal(409), refusal(504)]
)
def test_an_apply_is_tried_again_until_it_succeeds(tmp_path: Path, trouble: Answer | None) -> None:
    server = Server(trouble, trouble, OK)
    with serving(tmp_path, server) as cluster:
        assert cluster.apply(DEPLOYMENT, {"metadata": {"name": "one"}})["metadata"]["name"] == "one"
    path = "/apis/apps/v1/namespaces/here/deployments/one?fieldManager=continuous-training&force=true"
    assert server.asked == [f"PATCH {path}"] * 3


def test_throttling_waits_for_as_long_as_the_server_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", waited.append)
    with serving(tmp_path, Server(refusal(429, Retry_After="3"), OK)) as cluster:
        assert cluster.get(POD, "one") is not None
    assert waited == [3.0]


def test_a_conflict_of_a_replace_is_told_at_once(tmp_path: Path) -> None:
    server = Server(refusal(409, "the object has been modified"))
    with serving(tmp_path, server) as cluster, pytest.raises(ConflictError, match="has been modified"):
        cluster.replace(POD, {"metadata": {"name": "one"}})
    assert len(server.asked) == 1


def test_the_patience_ends_with_what_was_wrong(tmp_path: Path) -> None:
    server = Server(*[refusal(503, "etcd is away")] * 1000)
    with (
        serving(tmp_path, server, retry_budget=0.1) as cluster,
        pytest.raises(TransientError, match="etcd is away"),
    ):
        cluster.find(POD)


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    cluster = connect("", str(kubeconfig(tmp_path, free_port()))).with_retry_budget(0.1)
    assert cluster.namespace == "there"
    with pytest.raises(TransientError, match=r"could not get Pod x: the API server .* does not answer"):
        cluster.get(POD, "x")


ROLE = 'deployments.apps "one" is forbidden: User "u" cannot patch resource "deployments" in API group "apps"'


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refusal(403, ROLE), ForbiddenError, "verb patch on deployments of API group 'apps'"),
        (refusal(403, "exceeded quota: small"), RefusedError, "refused to apply Deployment one: exceeded"),
        (refusal(422, "spec.replicas: Invalid value"), RefusedError, "spec.replicas: Invalid value"),
        (refusal(404, "the server could not find the requested resource"), NotThereError, "could not find"),
        (refusal(401, "Unauthorized"), UserError, "does not know the kubeconfig's user"),
        ((418, {}, "short and stout"), PipelineError, "HTTP 418"),
    ],
)
def test_a_refusal_says_what_to_do_and_is_not_repeated(
    tmp_path: Path, answer: Answer, kind: type[PipelineError], words: str
) -> None:
    server = Server(answer)
    with serving(tmp_path, server) as cluster, pytest.raises(kind, match=words):
        cluster.apply(DEPLOYMENT, {"metadata": {"name": "one"}})
    assert len(server.asked) == 1


@pytest.mark.parametrize("code", [401, 403])
def test_a_server_that_has_just_started_may_not_know_its_callers_yet(tmp_path: Path, code: int) -> None:
    with serving(tmp_path, Server(None, refusal(code), refusal(code), OK)) as cluster:
        assert cluster.get(POD, "one") is not None


def listed(version: str, *names: str) -> Answer:
    items = [{"metadata": {"name": name}} for name in names]
    return 200, {}, {"metadata": {"resourceVersion": version}, "items": items}


def event(kind: str, name: str, version: str) -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"name": name, "resourceVersion": version}}}


def names(seen: list[list[dict[str, Any]]]) -> list[list[str]]:
    return [[one["metadata"]["name"] for one in objects] for objects in seen]


def test_a_watch_sees_each_change_and_goes_on_from_there(tmp_path: Path) -> None:
    server = Server(
        listed("5", "a"),
        (200, {}, [event("ADDED", "b", "6"), event("DELETED", "a", "7"), event("BOOKMARK", "", "9")]),
        (200, {}, [event("MODIFIED", "b", "10")]),
    )
    with serving(tmp_path, server) as cluster:
        seen = list(islice(watch(cluster, POD, "x=y", 60), 5))
    assert names(seen) == [["a"], ["a", "b"], ["b"], ["b"], ["b"]]
    assert [path.partition("resourceVersion=")[2].partition("&")[0] for path in server.asked] == [
        "",
        "5",
        "9",
    ]


EXPIRED = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}


@pytest.mark.parametrize("cut", [(200, {}, [EXPIRED]), refusal(410, "too old"), None, refusal(503)])
def test_a_watch_that_expires_or_is_cut_off_lists_anew(tmp_path: Path, cut: Answer | None) -> None:
    server = Server(listed("5", "a"), cut, listed("8", "c"), (200, {}, [event("ADDED", "d", "9")]))
    with serving(tmp_path, server) as cluster:
        seen = list(islice(watch(cluster, POD, "", 60), 3))
    assert names(seen) == [["a"], ["c"], ["c", "d"]]


def test_a_watch_that_is_forbidden_is_told(tmp_path: Path) -> None:
    server = Server(listed("5"), refusal(403, 'User "u" cannot watch resource "pods" in API group ""'))
    with serving(tmp_path, server) as cluster, pytest.raises(ForbiddenError, match="verb watch on pods"):
        list(watch(cluster, POD, "", 60))


def test_a_watch_ends(tmp_path: Path) -> None:
    begun = time.monotonic()
    with serving(tmp_path, Server(listed("5", "a"))) as cluster:
        assert names(list(watch(cluster, POD, "", 0))) == [["a"]]
    assert time.monotonic() - begun < 30


def test_no_cluster_is_told_with_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="set KUBECONFIG"):
        connect("", str(tmp_path / "nothing"))


def test_paths() -> None:
    assert POD.path("n", "p", "log") == "/api/v1/namespaces/n/pods/p/log"
    assert NAMESPACE.path("n", "x") == "/api/v1/namespaces/x"
    assert (DEPLOYMENT.group, POD.group) == ("apps", "")
