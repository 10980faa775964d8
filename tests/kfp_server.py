"""A small Kubeflow Pipelines API server with the real one's habits, held to a recording of it.

Names of recurring runs are not unique, a duplicate pipeline or version is a 409, parameters are checked
where a run is made, lists come in pages, deleting a recurring run kills its work and leaves its runs
RUNNING for ever. What it does not know it refuses, so that nobody comes to rely on it.
"""

# Every route's function gets the same arguments, whichever it needs.
# ruff: noqa: ARG005

from __future__ import annotations

import copy
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

ROOT = "/apis/v2beta1"
EPOCH = "1970-01-01T00:00:00Z"
HEALTH = {"commit_sha": "unknown", "tag_name": "unknown", "multi_user": False, "pipeline_store": "database"}
KINDS = {"STRING": str, "BOOLEAN": bool, "NUMBER_INTEGER": (int, float), "NUMBER_DOUBLE": (int, float)}
BODY_KEYS = {
    "experiments": {"display_name", "description", "namespace"},
    "pipelines": {"name", "display_name", "description", "namespace"},
    "runs": {
        "experiment_id", "display_name", "description", "pipeline_version_reference", "pipeline_spec",
        "runtime_config", "service_account",
    },
    "recurringruns": {
        "display_name", "description", "pipeline_version_reference", "pipeline_spec", "runtime_config",
        "service_account", "max_concurrency", "trigger", "mode", "no_catchup", "experiment_id",
    },
}  # fmt: skip


class Refused(Exception):
    """An answer that is no 200."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(status)
        self.status, self.body = status, body


def invalid(message: str) -> Refused:
    detail = {"@type": "type.googleapis.com/google.rpc.Status", "code": 3, "message": message}
    return Refused(400, {"code": 3, "message": f"Invalid input error: {message}", "details": [detail]})


def missing(message: str) -> Refused:
    return Refused(404, {"code": 5, "message": f"ResourceNotFoundError: {message}", "details": []})


@dataclass
class KfpServer:
    """The server's tables, each id to object; `token` is asked of every request when it is set.

    `fail` may raise Refused for a request, `outcome` says how a run ends (a list of steps and states, and
    the run's own), one step further each time that somebody asks for the run.
    """

    url: str = ""
    token: str = ""
    page: int = 100
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    pipelines: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    recurring: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    fail: Callable[[str, str], None] = lambda method, path: None
    outcome: list[tuple[str, str]] = field(default_factory=lambda: [("run", "SUCCEEDED")])
    lock: Any = field(default_factory=threading.RLock)

    def answer(self, method: str, target: str, body: bytes, headers: Any) -> dict[str, Any]:
        """Return the answer's JSON, or raise Refused."""
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        path = parts.path
        with self.lock:
            self.requests.append((method, path))
            if self.token and headers.get("authorization") != f"Bearer {self.token}":
                raise Refused(401, {"error": "Unauthorized"})
            self.fail(method, path)
            for pattern, verb, work in self._routes():
                match = re.fullmatch(ROOT + pattern, path)
                if match and verb == method:
                    return work(match.groupdict(), query, body, headers)
        raise Refused(404, {"code": 5, "message": "Not Found"})

    def _routes(self) -> list[tuple[str, str, Any]]:
        one = r"/(?P<id>[0-9a-f-]{36})"
        return [
            ("/healthz", "GET", lambda *_: HEALTH),
            ("/experiments", "GET", lambda p, q, b, h: self._list("experiments", self.experiments, q)),
            ("/experiments", "POST", lambda p, q, b, h: self._experiment(_body("experiments", b))),
            ("/pipelines", "GET", lambda p, q, b, h: self._list("pipelines", self.pipelines, q)),
            ("/pipelines", "POST", lambda p, q, b, h: self._pipeline(_body("pipelines", b))),
            ("/pipelines/upload", "POST", self._upload),
            ("/pipelines/upload_version", "POST", self._upload_version),
            (f"/pipelines{one}/versions", "GET", self._versions),
            (f"/pipelines{one}/versions/(?P<version>[0-9a-f-]{{36}})", "DELETE", self._delete_version),
            ("/runs", "GET", lambda p, q, b, h: self._list("runs", self._newest_runs(q), q)),
            ("/runs", "POST", lambda p, q, b, h: self.start(_body("runs", b))),
            (f"/runs{one}", "GET", lambda p, q, b, h: self._run(p["id"])),
            (f"/runs{one}:(?P<verb>terminate|archive)", "POST", self._end),
            ("/recurringruns", "GET", lambda p, q, b, h: self._list("recurringRuns", self.recurring, q)),
            ("/recurringruns", "POST", lambda p, q, b, h: self._schedule(_body("recurringruns", b))),
            (f"/recurringruns{one}", "GET", lambda p, q, b, h: self._recurring(p["id"], "get")),
            (f"/recurringruns{one}", "DELETE", lambda p, q, b, h: self._unschedule(p["id"])),
            (f"/recurringruns{one}:(?P<verb>enable|disable)", "POST", self._switch),
        ]

    def _list(self, key: str, table: dict[str, dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        rows = [row for row in table.values() if self._wanted(row, query)]
        if "page_token" not in query and not rows:
            return {}
        size = min(int(query.get("page_size") or 20), self.page)
        start = int(query.get("page_token") or 0)
        answer: dict[str, Any] = {key: rows[start : start + size], "total_size": len(rows)} if rows else {}
        if start + size < len(rows):
            answer["next_page_token"] = str(start + size)
        return answer

    def _wanted(self, row: dict[str, Any], query: dict[str, str]) -> bool:
        if "experiment_id" in query and row.get("experiment_id") != query["experiment_id"]:
            return False
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
            if predicate["key"] not in ("display_name", "name", "state"):
                raise invalid(f"no filter on {predicate['key']}")
            value = row.get(predicate["key"])
            if predicate["operation"] in (1, "EQUALS"):
                fits = value == predicate["stringValue"]
            elif predicate["operation"] == "IN":
                fits = value in predicate["stringValues"]["values"]
            else:
                raise invalid(f"no operation {predicate['operation']}")
            if not fits:
                return False
        return True

    def _experiment(self, body: dict[str, Any]) -> dict[str, Any]:
        if any(row["display_name"] == body["display_name"] for row in self.experiments.values()):
            raise Refused(409, {"code": 6, "message": "already exists"})
        made = {"experiment_id": _id(), **_filled(body), "created_at": _now(), "storage_state": "AVAILABLE"}
        made |= {"last_run_created_at": EPOCH}
        self.experiments[made["experiment_id"]] = made
        return made

    def _pipeline(self, body: dict[str, Any], what: str = "a pipeline") -> dict[str, Any]:
        if any(row["name"] == body["name"] for row in self.pipelines.values()):
            words = f"Failed to create {what}"
            raise Refused(409, {"error_message": words, "error_details": f"{words} ..."})
        made = {"pipeline_id": _id(), "display_name": body["name"], **_filled(body), "created_at": _now()}
        self.pipelines[made["pipeline_id"]] = made
        return made

    def _upload(self, _: Any, query: dict[str, str], body: bytes, headers: Any) -> dict[str, Any]:
        spec = _spec(body, headers)
        made = self._pipeline({**query}, "a pipeline and a pipeline version")
        self._version(made["pipeline_id"], query["name"], query.get("description", ""), spec)
        return made

    def _upload_version(self, _: Any, query: dict[str, str], body: bytes, headers: Any) -> dict[str, Any]:
        spec = _spec(body, headers)
        if query["pipelineid"] not in self.pipelines:
            raise missing(f"Pipeline {query['pipelineid']} not found")
        return self._version(query["pipelineid"], query["name"], query.get("description", ""), spec)

    def _version(self, pipeline_id: str, name: str, description: str, spec: Any) -> dict[str, Any]:
        if any(row["pipeline_id"] == pipeline_id and row["name"] == name for row in self.versions.values()):
            words = "Failed to create a pipeline version"
            raise Refused(409, {"error_message": words, "error_details": f"{words} ..."})
        made = {"pipeline_id": pipeline_id, "pipeline_version_id": _id(), "display_name": name, "name": name}
        made |= _filled({"description": description}) | {"created_at": _now(), "pipeline_spec": spec}
        self.versions[made["pipeline_version_id"]] = made
        return made

    def _versions(self, path: dict[str, str], query: dict[str, str], *_: Any) -> dict[str, Any]:
        rows = {k: row for k, row in self.versions.items() if row["pipeline_id"] == path["id"]}
        return self._list("pipeline_versions", rows, query)

    def _delete_version(self, path: dict[str, str], *_: Any) -> dict[str, Any]:
        # Accepted though a recurring run uses it: that goes on with a copy.
        self.versions.pop(path["version"], None)
        return {}

    def start(self, body: dict[str, Any], recurring_run_id: str = "") -> dict[str, Any]:
        """Make a run, as a POST or a tick of a schedule does."""
        self._check_parameters(body, "Failed to create a new run: ")
        made = {**_filled(body), "run_id": _id(), "storage_state": "AVAILABLE", "created_at": _now()}
        made |= {"service_account": "pipeline-runner", "scheduled_at": _now(), "finished_at": EPOCH}
        made |= {"state": "PENDING", "state_history": [{"update_time": _now(), "state": "PENDING"}]}
        made |= _filled({"recurring_run_id": recurring_run_id}) | {"left": list(self.outcome)}
        if not (body.get("runtime_config") or {}).get("parameters"):
            made.pop("runtime_config", None)
        self.runs[made["run_id"]] = made
        return _shown(made)

    def tick(self, recurring_run_id: str) -> str:
        """Let a schedule start a run; returns the run's id."""
        row = self.recurring[recurring_run_id]
        kept = ("experiment_id", "pipeline_version_reference", "runtime_config")
        body = {key: row[key] for key in kept if key in row} | {"display_name": f"{row['display_name']}-1"}
        return str(self.start(body, recurring_run_id)["run_id"])

    def _newest_runs(self, query: dict[str, str]) -> dict[str, dict[str, Any]]:
        return {key: _shown(row) for key, row in reversed(self.runs.items())}

    def _run(self, run_id: str) -> dict[str, Any]:
        if run_id not in self.runs:
            raise missing(f"Run {run_id} not found")
        run = self.runs[run_id]
        shown = copy.deepcopy(_shown(run))
        if run["left"]:
            name, state = run["left"].pop(0)
            if name == "run":
                run["state"] = state
                run["finished_at"] = _now() if state in ("SUCCEEDED", "FAILED") else EPOCH
            else:
                run["state"] = "RUNNING"
                details = run.setdefault("run_details", {"task_details": []})["task_details"]
                details[:] = [d for d in details if not d["display_name"].startswith(name)]
                details += _task(run_id, name, state)
        return shown

    def _end(self, path: dict[str, str], *_: Any) -> dict[str, Any]:
        run = self.runs.get(path["id"])
        if run is None:
            raise missing(f"Run {path['id']} not found")
        if path["verb"] == "terminate":
            run |= {"state": "CANCELING", "left": [("run", "FAILED")]}
        else:
            run["storage_state"] = "ARCHIVED"
        return {}

    def _schedule(self, body: dict[str, Any]) -> dict[str, Any]:
        trigger = body["trigger"]
        if "cron_schedule" in trigger:
            cron = trigger["cron_schedule"]["cron"]
            if len(cron.split()) not in (5, 6):
                found = f"Expected 5 to 6 fields, found {len(cron.split())}: {cron}"
                raise invalid(f"Schedule cron is not a supported format. Error: {found}")
        concurrency = int(body.get("max_concurrency") or 0)
        if not 1 <= concurrency <= 10:
            what = "Max concurrency of a recurring run must be at least 1 and at most 10"
            raise invalid(f"{what}. Received {concurrency}")
        self._check_parameters(body, "Failed to create a recurring run: ")
        made = {**_filled(body), "recurring_run_id": _id(), "max_concurrency": str(concurrency)}
        made |= {"service_account": body.get("service_account") or "pipeline-runner", "namespace": "kubeflow"}
        made |= {"created_at": _now(), "updated_at": _now(), "status": f"{body['mode']}D"}
        if not (body.get("runtime_config") or {}).get("parameters"):
            made.pop("runtime_config", None)
        self.recurring = {made["recurring_run_id"]: made, **self.recurring}
        return made

    def _recurring(self, key: str, verb: str) -> dict[str, Any]:
        if key not in self.recurring:
            raise missing(f"Failed to {verb} recurring run {key}: Job {key} not found")
        return self.recurring[key]

    def _unschedule(self, key: str) -> dict[str, Any]:
        self._recurring(key, "delete")
        del self.recurring[key]
        for run in self.runs.values():
            if run.get("recurring_run_id") == key and run["state"] in ("PENDING", "RUNNING"):
                # Its work is killed, and the API says RUNNING for ever.
                run |= {"state": "RUNNING", "left": []}
        return {}

    def _switch(self, path: dict[str, str], *_: Any) -> dict[str, Any]:
        mode = path["verb"].upper()
        self._recurring(path["id"], path["verb"]).update(mode=mode, status=f"{mode}D", updated_at=_now())
        return {}

    def _check_parameters(self, body: dict[str, Any], where: str) -> None:
        reference = body.get("pipeline_version_reference") or {}
        version = self.versions.get(reference.get("pipeline_version_id", ""))
        if version is None:
            raise missing(f"{where}PipelineVersion {reference} not found")
        if body.get("experiment_id") not in self.experiments:
            raise missing(f"{where}Experiment {body.get('experiment_id')} not found")
        known = version["pipeline_spec"]["root"].get("inputDefinitions", {}).get("parameters", {})
        for name, value in ((body.get("runtime_config") or {}).get("parameters") or {}).items():
            if name not in known:
                raise invalid(f"parameter(s) provided are not required by pipeline: {name}")
            kind = known[name]["parameterType"]
            if not isinstance(value, KINDS[kind]) or (kind != "BOOLEAN" and isinstance(value, bool)):
                words = f"input parameter {name} requires type {kind.lower()}, but the input parameter is not"
                raise invalid(f"{words} of {kind.lower()} value type")


def _body(kind: str, body: bytes) -> dict[str, Any]:
    found = dict(json.loads(body))
    if unknown := set(found) - BODY_KEYS[kind]:
        raise invalid(f"unknown field {sorted(unknown)}")
    return found


def _spec(body: bytes, headers: Any) -> Any:
    """Return the pipeline of a multipart body; anything but a pipeline's IR is refused."""
    raw = b"Content-Type: " + headers["content-type"].encode() + b"\r\n\r\n" + body
    parts = list(BytesParser(policy=HTTP).parsebytes(raw).iter_parts())
    files = [p for p in parts if p.get_param("name", header="content-disposition") == "uploadfile"]
    spec = next(iter(yaml.safe_load_all(files[0].get_content())), None) if len(files) == 1 else None
    if not isinstance(spec, dict) or not {"pipelineInfo", "root", "schemaVersion"} <= set(spec):
        words = "unknown template format"
        raise Refused(400, {"error_message": words, "error_details": f"{words} ..."})
    return spec


def _task(run_id: str, name: str, state: str) -> list[dict[str, Any]]:
    """Return a task as the server lists it: driver, executor, and an attempt of each."""
    now = datetime.now(UTC)
    times = {"create_time": _now(), "start_time": _text(now - timedelta(seconds=20)), "end_time": _now()}
    if state not in ("SUCCEEDED", "FAILED"):
        times["end_time"] = "0001-01-01T00:00:00Z"
    pod = {"child_tasks": [{"pod_name": f"digits-x1-{name}-impl"}]} if state == "FAILED" else {}
    row = {"run_id": run_id, "state": state, **times}
    driver = {**row, "state": "SUCCEEDED" if state != "SKIPPED" else "SKIPPED"}
    return [
        {**driver, "task_id": _id(), "display_name": f"{name}-driver"},
        {**row, "task_id": _id(), "display_name": name, **pod},
        {**row, "task_id": _id(), "display_name": f"{name}(0)"},
    ]


def _shown(run: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in run.items() if key != "left"}


def _filled(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is empty, as the server's JSON does."""
    return {key: value for key, value in body.items() if value not in ("", None, False)}


def _id() -> str:
    return str(uuid.uuid4())


def _now() -> str:
    return _text(datetime.now(UTC))


def _text(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def kfp_server() -> Iterator[KfpServer]:
    """Serve on 127.0.0.1 for the while."""
    kfp = KfpServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            try:
                status, answer = 200, kfp.answer(self.command, self.path, body, self.headers)
            except Refused as refused:
                status, answer = refused.status, refused.body
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kfp.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield kfp
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
