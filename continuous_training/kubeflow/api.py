"""Client of the Kubeflow Pipelines API 2.17 (v2beta1, REST).

Only GET requests are retried after a response, because the result of a failed write is unknown. Therefore
the commands list the existing objects before they write, and each command can be repeated.
Reference: https://www.kubeflow.org/docs/components/pipelines/reference/api/kubeflow-pipeline-api-spec/
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from continuous_training.adapters.wrong_server import server_name, wrong_server
from continuous_training.core.errors import TransientError, UserError
from continuous_training.core.json_object import Json
from continuous_training.kubeflow.api_objects import (
    PipelineVersion,
    RecurringRun,
    RecurringRunSpec,
    Run,
    RunRequest,
)
from continuous_training.kubeflow.connection import Connection

PRODUCT = "Kubeflow Pipelines"
API_PATH = "/apis/v2beta1"
PAGE_SIZE = 100

_TIMEOUT = (5, 60)
_UNAVAILABLE = (429, 500, 502, 503, 504)
_NO_NAMESPACE = ". In an installation with several users, pass --namespace with the name of your profile"


class KubeflowClient:
    """Pipelines, runs and recurring runs of one server, in the namespace of the connection."""

    def __init__(self, connection: Connection, backoff: float = 0.5) -> None:
        self.connection = connection
        self.session = requests.Session()
        # Requests of any method are retried when no connection was established.
        retry = Retry(
            total=5,
            backoff_factor=backoff,
            status_forcelist=_UNAVAILABLE,
            allowed_methods=("GET",),
            raise_on_status=False,
        )
        self.session.mount("http://", HTTPAdapter(max_retries=retry))
        self.session.mount("https://", HTTPAdapter(max_retries=retry))

    def find_pipeline(self, name: str) -> str | None:
        """Return the id of the pipeline with this name, or None."""
        rows = self._list("pipelines", "pipelines", _name_filter(name) | self._namespace())
        return next((str(row["pipeline_id"]) for row in rows), None)

    def create_pipeline(self, name: str, description: str) -> str:
        """Create a pipeline without versions and return its id. Returns an existing id after a conflict."""
        body = {"name": name, "display_name": name, "description": description} | self._namespace()
        created = self._call("POST", "pipelines", json=body, allow_conflict=True)
        pipeline_id = str(created["pipeline_id"]) if created is not None else self.find_pipeline(name)
        if pipeline_id is None:
            raise TransientError(f"pipeline {name} was deleted while it was created: try again")
        return pipeline_id

    def find_version(self, pipeline_id: str, name: str) -> PipelineVersion | None:
        """Return the version of a pipeline with this name, or None."""
        path = f"pipelines/{pipeline_id}/versions"
        for row in self._list(path, "pipeline_versions", {"sort_by": ""}):
            if name in (row.get("name"), row.get("display_name")):
                return PipelineVersion(pipeline_id, str(row["pipeline_version_id"]))
        return None

    def latest_version(self, pipeline_id: str) -> PipelineVersion | None:
        """Return the version of a pipeline that was created last, or None if it has no versions."""
        path = f"pipelines/{pipeline_id}/versions"
        rows = self._list(path, "pipeline_versions", {"sort_by": "created_at desc"})
        return next((PipelineVersion(pipeline_id, str(row["pipeline_version_id"])) for row in rows), None)

    def upload_version(
        self, pipeline_id: str, name: str, description: str, text: str
    ) -> PipelineVersion | None:
        """Upload a pipeline file as a version. Returns None when the name is in use."""
        created = self._call(
            "POST",
            "pipelines/upload_version",
            params={"name": name, "pipelineid": pipeline_id, "description": description},
            files={"uploadfile": (f"{name}.yaml", text.encode(), "application/x-yaml")},
            allow_conflict=True,
        )
        return PipelineVersion(pipeline_id, str(created["pipeline_version_id"])) if created else None

    def experiment(self, name: str, create: bool = True) -> str:
        """Return the id of the experiment with this name.

        A missing experiment is created. Without `create`, the result is `(new)` instead.
        """
        params = _name_filter(name) | {"namespace": self.connection.namespace}
        row = next(self._list("experiments", "experiments", params), None)
        if row is None and not create:
            return "(new)"
        if row is None:
            row = self._post("experiments", {"display_name": name, "namespace": self.connection.namespace})
        return str(row["experiment_id"])

    def start_run(self, request: RunRequest) -> Run:
        """Start a run. Raises UserError for parameters that the pipeline does not have."""
        return Run.from_json(self._post("runs", request.to_json()))

    def run(self, run_id: str) -> Run:
        """Return the current state of a run."""
        return Run.from_json(self._call("GET", f"runs/{run_id}") or {"run_id": run_id})

    def find_run(self, run_id: str) -> Run | None:
        """Return the current state of a run, or None if it was deleted."""
        response = self._call("GET", f"runs/{run_id}", allow_missing=True)
        return None if response is None else Run.from_json({"run_id": run_id, **response})

    def runs(self, experiment_id: str) -> Iterator[Run]:
        """Yield the runs of an experiment, the latest run first."""
        params = {"experiment_id": experiment_id, "sort_by": "created_at desc"}
        return map(Run.from_json, self._list("runs", "runs", params))

    def terminate(self, run_id: str) -> None:
        """Stop a run. It ends with the state FAILED, and its exit handler is not executed."""
        self._call("POST", f"runs/{run_id}:terminate")

    def recurring_runs(self) -> Iterator[RecurringRun]:
        """Yield the recurring runs."""
        rows = self._list("recurringruns", "recurringRuns", {"sort_by": ""} | self._namespace())
        return map(RecurringRun.from_json, rows)

    def create_recurring_run(self, spec: RecurringRunSpec) -> RecurringRun:
        """Create a recurring run. Names are not unique, so the caller first lists the existing ones."""
        return RecurringRun.from_json(self._post("recurringruns", spec.to_json()))

    def enable(self, recurring_run_id: str) -> None:
        """Enable a recurring run: it starts runs at its times."""
        self._call("POST", f"recurringruns/{recurring_run_id}:enable")

    def disable(self, recurring_run_id: str) -> None:
        """Disable a recurring run: it starts no further runs. Active runs continue."""
        self._call("POST", f"recurringruns/{recurring_run_id}:disable")

    def delete_recurring_run(self, recurring_run_id: str) -> None:
        """Delete a recurring run **and kill its active runs**. Does nothing when it does not exist."""
        self._call("DELETE", f"recurringruns/{recurring_run_id}", allow_missing=True)

    def _namespace(self) -> dict[str, str]:
        return {"namespace": self.connection.namespace} if self.connection.namespace else {}

    def _list(self, path: str, key: str, params: dict[str, str]) -> Iterator[Json]:
        """Yield the rows of all pages of a list."""
        token = ""
        while True:
            page = {"page_token": token, "page_size": PAGE_SIZE}
            response = self._call("GET", path, params={**page, **params}) or {}
            yield from response.get(key) or []
            token = response.get("next_page_token") or ""
            if not token:
                return

    def _post(self, path: str, body: Json) -> Json:
        return self._call("POST", path, json=body) or {}

    def _call(
        self,
        method: str,
        path: str,
        *,
        allow_conflict: bool = False,
        allow_missing: bool = False,
        **options: Any,
    ) -> Json | None:
        """Send a request and return the JSON of the response, or None for an allowed status 409 or 404.

        Raises UserError for a rejected request, and TransientError when the server is not available.
        """
        url = f"{self.connection.host}{API_PATH}/{path}"
        try:
            response = self.session.request(
                method,
                url,
                headers=self.connection.headers(),
                timeout=_TIMEOUT,
                # A redirect leads to a login page.
                allow_redirects=False,
                **options,
            )
        except requests.RequestException as error:
            reason = _root_cause(error)
            raise TransientError(f"{self._server_name()} cannot be reached: {reason}") from error
        status = response.status_code
        if (status == 409 and allow_conflict) or (status == 404 and allow_missing):
            return None
        self._raise_for_status(response, f"{method} {path}")
        try:
            return dict(response.json())
        except (ValueError, TypeError):
            raise wrong_server(PRODUCT, self.connection.host, response) from None

    def _raise_for_status(self, response: requests.Response, request: str) -> None:
        status, server = response.status_code, self._server_name()
        detail = f"{status}{_error_message(response)}"
        if status in (401, 403) or response.is_redirect:
            hint = "" if self.connection.namespace or status != 403 else _NO_NAMESPACE
            raise UserError(
                f"{server} denied access ({detail}{server_name(response)}): set CT_KFP_TOKEN, "
                "CT_KFP_TOKEN_FILE or CT_KFP_COOKIE. "
                f"If one of them is set, it may have expired or may not permit this operation{hint}"
            )
        if status in _UNAVAILABLE:
            raise TransientError(f"{server} is temporarily unavailable: {request}: {detail}")
        if not response.ok and _kubeflow_error(response) is None:
            raise wrong_server(PRODUCT, self.connection.host, response)
        if not response.ok:
            raise UserError(f"{server} rejected {request}: {detail}")

    def _server_name(self) -> str:
        return f"{PRODUCT} at {self.connection.host}"


def _name_filter(name: str) -> dict[str, str]:
    """Return the query parameter that selects objects by their display name."""
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return {"filter": json.dumps({"predicates": [predicate]})}


def _error_message(response: requests.Response) -> str:
    """Return the error message in a response, with a space before it, or an empty string."""
    message = _kubeflow_error(response)
    if message is None:
        message = response.text[:200]
    return f" {message}" if message else ""


def _kubeflow_error(response: requests.Response) -> str | None:
    """Return the message in an error response of Kubeflow, or None if another server has sent it."""
    try:
        body = response.json()
        message = body.get("message") or body.get("error_message") or body.get("error_details")
    except (ValueError, AttributeError):
        return None
    return str(message) if message else None


def _root_cause(error: requests.RequestException) -> str:
    """Return the innermost error message. The outer messages only repeat the address."""
    inner: BaseException = error
    while inner.args and isinstance(inner.args[-1], BaseException):
        inner = inner.args[-1]
    reason = getattr(inner, "reason", None)
    return str(reason or inner)
