"""A small Kubeflow Pipelines API server for tests. A test compares it with a recording of a real server.

It reproduces the following behaviour: names of recurring runs are not unique; a duplicate pipeline or version
is a 409; parameters are checked when a run is created; lists have pages; the deletion of a recurring run
kills its pods and leaves its runs RUNNING for ever. Requests and fields that the tests do not need are
rejected.
"""

# All route functions get the same arguments, and not all of them use every argument.
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

from tests import robfig_cron

ROOT = "/apis/v2beta1"
EPOCH = "1970-01-01T00:00:00Z"
HEALTH = {"commit_sha": "unknown", "tag_name": "unknown", "multi_user": False, "pipeline_store": "database"}
PARAMETER_TYPES: dict[str, Any] = {
    "STRING": str,
    "BOOLEAN": bool,
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
}
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


class ApiError(Exception):
    """A response with an error status."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(status)
        self.status, self.body = status, body


def invalid(message: str) -> ApiError:
    detail = {"@type": "type.googleapis.com/google.rpc.Status", "code": 3, "message": message}
    return ApiError(400, {"code": 3, "message": f"Invalid input error: {message}", "details": [detail]})


def missing(message: str) -> ApiError:
    return ApiError(404, {"code": 5, "message": f"ResourceNotFoundError: {message}", "details": []})


@dataclass
class KfpServer:
    """The state of the server: tables that map ids to objects. If `token` is set, each request must send it.

    `fail` can raise ApiError for a request. `outcome` is the list of states that a run goes through, as pairs
    of step (or `run` for the run itself) and state. Each GET of a run advances it by one pair. `logs` are the
    logs of the steps' pods by step; RUN in a log is replaced by the id of the run. `without_workflow` are the
    ids of runs whose Workflow was deleted: their end is never reported.
    """

    url: str = ""
    token: str = ""
    page_size: int = 100
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    pipelines: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    recurring_runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    fail: Callable[[str, str], None] = lambda method, path: None
    outcome: list[tuple[str, str]] = field(default_factory=lambda: [("run", "SUCCEEDED")])
    logs: dict[str, str] = field(default_factory=dict)
    without_workflow: set[str] = field(default_factory=set)
    lock: Any = field(default_factory=threading.RLock)

    def handle(self, method: str, target: str, body: bytes, headers: Any) -> dict[str, Any] | str:
        """Return the JSON or the text of the response, or raise ApiError."""
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        path = parts.path
        with self.lock:
            self.requests.append((method, path))
            if self.token and headers.get("authorization") != f"Bearer {self.token}":
                raise ApiError(401, {"error": "Unauthorized"})
            self.fail(method, path)
            for pattern, route_method, function in self._routes():
                match = re.fullmatch(pattern if pattern.startswith("/apis/") else ROOT + pattern, path)
                if match and route_method == method:
                    return function(match.groupdict(), query, body, headers)
        raise ApiError(404, {"code": 5, "message": "Not Found"})

    def _routes(self) -> list[tuple[str, str, Any]]:
        identifier = r"/(?P<id>[0-9a-f-]{36})"
        return [
            ("/healthz", "GET", lambda *_: HEALTH),
            ("/experiments", "GET", lambda p, q, b, h: self._list("experiments", self.experiments, q)),
            (
                "/experiments",
                "POST",
                lambda p, q, b, h: self.create_experiment(_parse_body("experiments", b)),
            ),
            ("/pipelines", "GET", lambda p, q, b, h: self._list("pipelines", self.pipelines, q)),
            ("/pipelines", "POST", lambda p, q, b, h: self.create_pipeline(_parse_body("pipelines", b))),
            ("/pipelines/upload", "POST", self._upload),
            ("/pipelines/upload_version", "POST", self._upload_version),
            (f"/pipelines{identifier}/versions", "GET", self._list_versions),
            (f"/pipelines{identifier}/versions/(?P<version>[0-9a-f-]{{36}})", "DELETE", self._delete_version),
            ("/runs", "GET", lambda p, q, b, h: self._list("runs", self._list_runs(q), q)),
            ("/runs", "POST", lambda p, q, b, h: self.start_run(_parse_body("runs", b))),
            (f"/runs{identifier}", "GET", lambda p, q, b, h: self._read_run(p["id"])),
            (f"/runs{identifier}:(?P<verb>terminate|archive)", "POST", self._stop_run),
            (f"/apis/v1beta1/runs{identifier}", "GET", lambda p, q, b, h: self._read_workflow(p["id"])),
            (
                f"/apis/v1alpha1/runs{identifier}/nodes/(?P<pod>[^/]+)/log",
                "GET",
                lambda p, q, b, h: self._read_log(p["id"], p["pod"]),
            ),
            ("/recurringruns", "GET", lambda p, q, b, h: self._list("recurringRuns", self.recurring_runs, q)),
            (
                "/recurringruns",
                "POST",
                lambda p, q, b, h: self.create_recurring_run(_parse_body("recurringruns", b)),
            ),
            (
                f"/recurringruns{identifier}",
                "GET",
                lambda p, q, b, h: self._find_recurring_run(p["id"], "get"),
            ),
            (f"/recurringruns{identifier}", "DELETE", lambda p, q, b, h: self._delete_recurring_run(p["id"])),
            (f"/recurringruns{identifier}:(?P<verb>enable|disable)", "POST", self._set_mode),
        ]

    def _list(self, key: str, table: dict[str, dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        rows = [row for row in table.values() if self._matches(row, query)]
        if "page_token" not in query and not rows:
            return {}
        size = min(int(query.get("page_size") or 20), self.page_size)
        start = int(query.get("page_token") or 0)
        response: dict[str, Any] = {key: rows[start : start + size], "total_size": len(rows)} if rows else {}
        if start + size < len(rows):
            response["next_page_token"] = str(start + size)
        return response

    def _matches(self, row: dict[str, Any], query: dict[str, str]) -> bool:
        if "experiment_id" in query and row.get("experiment_id") != query["experiment_id"]:
            return False
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
            if predicate["key"] not in ("display_name", "name", "state"):
                raise invalid(f"no filter on {predicate['key']}")
            value = row.get(predicate["key"])
            if predicate["operation"] in (1, "EQUALS"):
                is_match = value == predicate["stringValue"]
            elif predicate["operation"] == "IN":
                is_match = value in predicate["stringValues"]["values"]
            else:
                raise invalid(f"no operation {predicate['operation']}")
            if not is_match:
                return False
        return True

    def create_experiment(self, body: dict[str, Any]) -> dict[str, Any]:
        if any(row["display_name"] == body["display_name"] for row in self.experiments.values()):
            raise ApiError(409, {"code": 6, "message": "already exists"})
        created = {
            "experiment_id": _new_id(),
            **_without_empty(body),
            "created_at": _now(),
            "storage_state": "AVAILABLE",
        }
        created |= {"last_run_created_at": EPOCH}
        self.experiments[created["experiment_id"]] = created
        return created

    def create_pipeline(self, body: dict[str, Any], noun: str = "a pipeline") -> dict[str, Any]:
        if any(row["name"] == body["name"] for row in self.pipelines.values()):
            message = f"Failed to create {noun}"
            raise ApiError(409, {"error_message": message, "error_details": f"{message} ..."})
        created = {
            "pipeline_id": _new_id(),
            "display_name": body["name"],
            **_without_empty(body),
            "created_at": _now(),
        }
        self.pipelines[created["pipeline_id"]] = created
        return created

    def _upload(self, _: Any, query: dict[str, str], body: bytes, headers: Any) -> dict[str, Any]:
        spec = _parse_upload(body, headers)
        created = self.create_pipeline({**query}, "a pipeline and a pipeline version")
        self.create_version(created["pipeline_id"], query["name"], query.get("description", ""), spec)
        return created

    def _upload_version(self, _: Any, query: dict[str, str], body: bytes, headers: Any) -> dict[str, Any]:
        spec = _parse_upload(body, headers)
        if query["pipelineid"] not in self.pipelines:
            raise missing(f"Pipeline {query['pipelineid']} not found")
        return self.create_version(query["pipelineid"], query["name"], query.get("description", ""), spec)

    def create_version(self, pipeline_id: str, name: str, description: str, spec: Any) -> dict[str, Any]:
        if any(row["pipeline_id"] == pipeline_id and row["name"] == name for row in self.versions.values()):
            message = "Failed to create a pipeline version"
            raise ApiError(409, {"error_message": message, "error_details": f"{message} ..."})
        created = {
            "pipeline_id": pipeline_id,
            "pipeline_version_id": _new_id(),
            "display_name": name,
            "name": name,
        }
        created |= _without_empty({"description": description}) | {
            "created_at": _now(),
            "pipeline_spec": spec,
        }
        self.versions[created["pipeline_version_id"]] = created
        return created

    def _list_versions(self, path: dict[str, str], query: dict[str, str], *_: Any) -> dict[str, Any]:
        rows = {k: row for k, row in self.versions.items() if row["pipeline_id"] == path["id"]}
        if query.get("sort_by") == "created_at desc":
            rows = dict(reversed(rows.items()))
        return self._list("pipeline_versions", rows, query)

    def _delete_version(self, path: dict[str, str], *_: Any) -> dict[str, Any]:
        # The server accepts this also for a version that a recurring run uses, because that has a copy.
        self.versions.pop(path["version"], None)
        return {}

    def start_run(self, body: dict[str, Any], recurring_run_id: str = "") -> dict[str, Any]:
        """Create a run, for a POST or for a time of a recurring run."""
        self._check_parameters(body, "Failed to create a new run: ")
        created = {
            **_without_empty(body),
            "run_id": _new_id(),
            "storage_state": "AVAILABLE",
            "created_at": _now(),
        }
        created |= {"service_account": "pipeline-runner", "scheduled_at": _now(), "finished_at": EPOCH}
        created |= {"state": "PENDING", "state_history": [{"update_time": _now(), "state": "PENDING"}]}
        created |= _without_empty({"recurring_run_id": recurring_run_id}) | {
            "remaining_outcome": list(self.outcome)
        }
        if not (body.get("runtime_config") or {}).get("parameters"):
            created.pop("runtime_config", None)
        self.runs[created["run_id"]] = created
        return _without_outcome(created)

    def tick(self, recurring_run_id: str) -> str:
        """Start a run of a recurring run, as at one of its times. Return the id of the run."""
        row = self.recurring_runs[recurring_run_id]
        copied = ("experiment_id", "pipeline_version_reference", "runtime_config")
        body = {key: row[key] for key in copied if key in row} | {"display_name": f"{row['display_name']}-1"}
        return str(self.start_run(body, recurring_run_id)["run_id"])

    def _list_runs(self, query: dict[str, str]) -> dict[str, dict[str, Any]]:
        return {key: _without_outcome(row) for key, row in reversed(self.runs.items())}

    def _read_workflow(self, run_id: str) -> dict[str, Any]:
        """Return the Workflow of a run, with the nodes of the steps that have a log."""
        if run_id not in self.runs:
            raise missing(f"Run {run_id} not found")
        nodes = {}
        for number, step in enumerate(self.logs):
            task = f"digits-x1(0).root(0).exit-handler-1(0).{step}"
            for name, template in ((f"{task}-driver(0)", "system-container-driver"), (f"{task}(0)", step)):
                key = f"digits-x1-{number}{'' if template == step else 0}"
                row = {"id": key, "name": name, "type": "Pod", "startedAt": _now()}
                nodes[key] = row | {"templateName": template}
        workflow = {"metadata": {"name": "digits-x1"}, "status": {"nodes": nodes}}
        return {"run": {"id": run_id}, "pipeline_runtime": {"workflow_manifest": json.dumps(workflow)}}

    def _read_log(self, run_id: str, pod: str) -> str:
        for number, (step, text) in enumerate(self.logs.items()):
            if pod == f"digits-x1-{step}-{number}":
                return text.replace("RUN", run_id)
        return json.dumps({"error_message": f"Failed to read logs from pod {pod}"})

    def _read_run(self, run_id: str) -> dict[str, Any]:
        if run_id not in self.runs:
            raise missing(f"Run {run_id} not found")
        run = self.runs[run_id]
        response = copy.deepcopy(_without_outcome(run))
        if run["remaining_outcome"]:
            name, state = run["remaining_outcome"].pop(0)
            if name == "run":
                _set_state(run, state)
                run["finished_at"] = _now() if state in ("SUCCEEDED", "FAILED") else EPOCH
            else:
                run["state"] = "RUNNING"
                details = run.setdefault("run_details", {"task_details": []})["task_details"]
                details[:] = [d for d in details if not d["display_name"].startswith(name)]
                details += _task_entries(run_id, name, state)
        return response

    def _stop_run(self, path: dict[str, str], *_: Any) -> dict[str, Any]:
        run = self.runs.get(path["id"])
        if run is None:
            raise missing(f"Run {path['id']} not found")
        if path["verb"] == "terminate":
            if run["state"] == "CANCELING":
                raise invalid(f"Failed to terminate a run {path['id']}. Row not found")
            _set_state(run, "CANCELING")
            if path["id"] in self.without_workflow:
                message = f"InternalServerError: Failed to terminate run {path['id']}"
                raise ApiError(500, {"code": 13, "message": message, "details": []})
            run["remaining_outcome"] = [("run", "FAILED")]
        else:
            run["storage_state"] = "ARCHIVED"
        return {}

    def create_recurring_run(self, body: dict[str, Any]) -> dict[str, Any]:
        trigger = body["trigger"]
        if "cron_schedule" in trigger:
            try:
                robfig_cron.parse(trigger["cron_schedule"]["cron"])
            except ValueError as error:
                raise invalid(f"Schedule cron is not a supported format. Error: {error}") from error
        concurrency = int(body.get("max_concurrency") or 0)
        if not 1 <= concurrency <= 10:
            limits = "Max concurrency of a recurring run must be at least 1 and at most 10"
            raise invalid(f"{limits}. Received {concurrency}")
        self._check_parameters(body, "Failed to create a recurring run: ")
        created = {**_without_empty(body), "recurring_run_id": _new_id(), "max_concurrency": str(concurrency)}
        created |= {
            "service_account": body.get("service_account") or "pipeline-runner",
            "namespace": "kubeflow",
        }
        created |= {"created_at": _now(), "updated_at": _now(), "status": f"{body['mode']}D"}
        if not (body.get("runtime_config") or {}).get("parameters"):
            created.pop("runtime_config", None)
        self.recurring_runs = {created["recurring_run_id"]: created, **self.recurring_runs}
        return created

    def _find_recurring_run(self, key: str, verb: str) -> dict[str, Any]:
        if key not in self.recurring_runs:
            raise missing(f"Failed to {verb} recurring run {key}: Job {key} not found")
        return self.recurring_runs[key]

    def _delete_recurring_run(self, key: str) -> dict[str, Any]:
        self._find_recurring_run(key, "delete")
        del self.recurring_runs[key]
        for run in self.runs.values():
            if run.get("recurring_run_id") == key and run["state"] in ("PENDING", "RUNNING"):
                # The pods are killed, and the run stays RUNNING for ever.
                run |= {"state": "RUNNING", "remaining_outcome": []}
        return {}

    def _set_mode(self, path: dict[str, str], *_: Any) -> dict[str, Any]:
        mode = path["verb"].upper()
        self._find_recurring_run(path["id"], path["verb"]).update(
            mode=mode, status=f"{mode}D", updated_at=_now()
        )
        return {}

    def _check_parameters(self, body: dict[str, Any], prefix: str) -> None:
        reference = body.get("pipeline_version_reference") or {}
        version = self.versions.get(reference.get("pipeline_version_id", ""))
        if version is None:
            raise missing(f"{prefix}PipelineVersion {reference} not found")
        if body.get("experiment_id") not in self.experiments:
            raise missing(f"{prefix}Experiment {body.get('experiment_id')} not found")
        inputs = version["pipeline_spec"]["root"].get("inputDefinitions", {}).get("parameters", {})
        for name, value in ((body.get("runtime_config") or {}).get("parameters") or {}).items():
            if name not in inputs:
                raise invalid(f"parameter(s) provided are not required by pipeline: {name}")
            kind = inputs[name]["parameterType"]
            if not isinstance(value, PARAMETER_TYPES[kind]) or (
                kind != "BOOLEAN" and isinstance(value, bool)
            ):
                message = (
                    f"input parameter {name} requires type {kind.lower()}, but the input parameter is not"
                )
                raise invalid(f"{message} of {kind.lower()} value type")


def _parse_body(kind: str, body: bytes) -> dict[str, Any]:
    data = dict(json.loads(body))
    if unknown := set(data) - BODY_KEYS[kind]:
        raise invalid(f"unknown field {sorted(unknown)}")
    return data


def _parse_upload(body: bytes, headers: Any) -> Any:
    """Return the pipeline of a multipart body. Raise ApiError for other content than the IR of a pipeline."""
    raw = b"Content-Type: " + headers["content-type"].encode() + b"\r\n\r\n" + body
    parts = list(BytesParser(policy=HTTP).parsebytes(raw).iter_parts())
    files = [p for p in parts if p.get_param("name", header="content-disposition") == "uploadfile"]
    spec = next(iter(yaml.safe_load_all(files[0].get_content())), None) if len(files) == 1 else None
    if not isinstance(spec, dict) or not {"pipelineInfo", "root", "schemaVersion"} <= set(spec):
        message = "unknown template format"
        raise ApiError(400, {"error_message": message, "error_details": f"{message} ..."})
    return spec


def _task_entries(run_id: str, name: str, state: str) -> list[dict[str, Any]]:
    """Return the entries of a task in a list: driver, executor, and one attempt."""
    now = datetime.now(UTC)
    timestamps = {
        "create_time": _now(),
        "start_time": _format_time(now - timedelta(seconds=20)),
        "end_time": _now(),
    }
    if state not in ("SUCCEEDED", "FAILED"):
        timestamps["end_time"] = "0001-01-01T00:00:00Z"
    pod = {"child_tasks": [{"pod_name": f"digits-x1-{name}-impl"}]} if state == "FAILED" else {}
    row = {"run_id": run_id, "state": state, **timestamps}
    driver = {**row, "state": "SUCCEEDED" if state != "SKIPPED" else "SKIPPED"}
    return [
        {**driver, "task_id": _new_id(), "display_name": f"{name}-driver"},
        {**row, "task_id": _new_id(), "display_name": name, **pod},
        {**row, "task_id": _new_id(), "display_name": f"{name}(0)"},
    ]


def _set_state(run: dict[str, Any], state: str) -> None:
    run["state"] = state
    run["state_history"] = [*run["state_history"], {"update_time": _now(), "state": state}]


def _without_outcome(run: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in run.items() if key != "remaining_outcome"}


def _without_empty(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body without empty values, which the JSON of the server omits."""
    return {key: value for key, value in body.items() if value not in ("", None, False)}


def _new_id() -> str:
    return str(uuid.uuid4())


def _now() -> str:
    return _format_time(datetime.now(UTC))


def _format_time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def kfp_server() -> Iterator[KfpServer]:
    """Run a server on 127.0.0.1 within the block."""
    kfp = KfpServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            try:
                response = kfp.handle(self.command, self.path, body, self.headers)
                status = 200
            except ApiError as error:
                status, response = error.status, error.body
            is_text = isinstance(response, str)
            data = (response if isinstance(response, str) else json.dumps(response)).encode()
            self.send_response(status)
            self.send_header("content-type", "text/plain" if is_text else "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = respond  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Write no log."""

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
