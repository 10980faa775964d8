"""The Kubeflow Pipelines API 2.17, v2beta1 over REST, as far as the verbs need it.

What is asked twice in a row harms nothing: reading is tried again when the server is away, and writing
is not, for nobody knows what came of it; the verbs look first at what is there.
Reference: https://www.kubeflow.org/docs/components/pipelines/reference/api/kubeflow-pipeline-api-spec/
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from continuous_training.core.errors import TransientError, UserError
from continuous_training.kubeflow.connection import Access

ROOT = "/apis/v2beta1"
PAGE = 100
FINAL = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
"""The states in which a run stays."""

_TIMEOUT = (5, 60)
_AWAY = (429, 500, 502, 503, 504)

Object = dict[str, Any]
"""One of the server's objects, as its JSON is."""


class Kubeflow:
    """The pipelines, runs and recurring runs of one server, in one namespace of it."""

    def __init__(self, access: Access, backoff: float = 0.5) -> None:
        self.access = access
        self.session = requests.Session()
        # Only GET is repeated after an answer; all are when no connection came about.
        retry = Retry(
            total=5,
            backoff_factor=backoff,
            status_forcelist=_AWAY,
            allowed_methods=("GET",),
            raise_on_status=False,
        )
        self.session.mount("http://", HTTPAdapter(max_retries=retry))
        self.session.mount("https://", HTTPAdapter(max_retries=retry))

    def pipeline(self, name: str) -> Object | None:
        """Return the pipeline of that name, or None."""
        return next(self._list("pipelines", "pipelines", self._named(name), self._namespace()), None)

    def create_pipeline(self, name: str, description: str) -> Object:
        """Make a pipeline without versions; returns the one that is there when somebody was faster."""
        body = {"name": name, "display_name": name, "description": description} | self._namespace()
        made = self._call("POST", "pipelines", json=body, conflict=True)
        found = made if made is not None else self.pipeline(name)
        if found is None:
            raise TransientError(f"pipeline {name} was there, and is not any more; try again")
        return found

    def versions(self, pipeline_id: str) -> Iterator[Object]:
        """Yield the versions of a pipeline."""
        return self._list(f"pipelines/{pipeline_id}/versions", "pipeline_versions", {}, {"sort_by": ""})

    def upload_version(self, pipeline_id: str, name: str, description: str, text: str) -> Object | None:
        """Upload a pipeline file as a version; None when the name is taken."""
        return self._call(
            "POST",
            "pipelines/upload_version",
            params={"name": name, "pipelineid": pipeline_id, "description": description},
            files={"uploadfile": (f"{name}.yaml", text.encode(), "application/x-yaml")},
            conflict=True,
        )

    def experiment(self, name: str, make: bool = True) -> str:
        """Return the id of the experiment of that name, made when it is missing; `(new)` without `make`."""
        params = self._named(name)
        found = next(
            self._list("experiments", "experiments", params, {"namespace": self.access.namespace}), None
        )
        if found is None and not make:
            return "(new)"
        if found is None:
            body = {"display_name": name, "namespace": self.access.namespace}
            found = self._send("experiments", body)
        return str(found["experiment_id"])

    def start_run(self, body: Object) -> Object:
        """Start a run; UserError for parameters that the pipeline does not take."""
        return self._send("runs", body)

    def run(self, run_id: str) -> Object:
        """Return a run as it is now."""
        return self._call("GET", f"runs/{run_id}") or {}

    def runs(self, experiment_id: str) -> Iterator[Object]:
        """Yield the runs of an experiment, the newest first."""
        more = {"experiment_id": experiment_id, "sort_by": "created_at desc"}
        return self._list("runs", "runs", {}, more)

    def terminate(self, run_id: str) -> None:
        """Stop a run; it ends as FAILED, and its exit handler does not run."""
        self._call("POST", f"runs/{run_id}:terminate")

    def schedules(self) -> Iterator[Object]:
        """Yield the recurring runs."""
        return self._list("recurringruns", "recurringRuns", {}, {"sort_by": ""} | self._namespace())

    def create_schedule(self, body: Object) -> Object:
        """Make a recurring run; names are not unique, so look first."""
        return self._send("recurringruns", body)

    def enable(self, recurring_run_id: str) -> None:
        """Let a recurring run start runs again."""
        self._call("POST", f"recurringruns/{recurring_run_id}:enable")

    def disable(self, recurring_run_id: str) -> None:
        """Let a recurring run start no more runs; those that go on go on."""
        self._call("POST", f"recurringruns/{recurring_run_id}:disable")

    def delete_schedule(self, recurring_run_id: str) -> None:
        """Delete a recurring run, **and kill its runs that go on**; nothing when it is gone already."""
        self._call("DELETE", f"recurringruns/{recurring_run_id}", missing=True)

    def _namespace(self) -> dict[str, str]:
        return {"namespace": self.access.namespace} if self.access.namespace else {}

    @staticmethod
    def _named(name: str) -> dict[str, str]:
        predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
        return {"filter": json.dumps({"predicates": [predicate]})}

    def _list(self, path: str, key: str, filter_: dict[str, str], more: dict[str, str]) -> Iterator[Object]:
        token = ""
        while True:
            page = {"page_token": token, "page_size": PAGE}
            answer = self._call("GET", path, params={**page, **more, **filter_}) or {}
            yield from answer.get(key) or []
            token = answer.get("next_page_token") or ""
            if not token:
                return

    def _send(self, path: str, body: Object) -> Object:
        return self._call("POST", path, json=body) or {}

    def _call(
        self, method: str, path: str, *, conflict: bool = False, missing: bool = False, **request: Any
    ) -> Object | None:
        """Send a request; returns the answer's JSON, None for an awaited 409 (`conflict`) or 404 (`missing`).

        UserError for what is refused, TransientError when the server is away.
        """
        url = f"{self.access.host}{ROOT}/{path}"
        where = f"Kubeflow Pipelines at {self.access.host}"
        try:
            answer = self.session.request(
                method,
                url,
                headers=self.access.headers(),
                timeout=_TIMEOUT,
                # A login page is where a redirect leads.
                allow_redirects=False,
                **request,
            )
        except requests.RequestException as error:
            raise TransientError(f"{where} cannot be reached: {_reason(error)}") from error
        status = answer.status_code
        if (status == 409 and conflict) or (status == 404 and missing):
            return None
        if status in (401, 403) or answer.is_redirect:
            raise UserError(
                f"{where} does not let this in ({status}{_said(answer)}): set CT_KFP_TOKEN, "
                "CT_KFP_TOKEN_FILE or CT_KFP_COOKIE; what was set may have expired, or may not do this"
            )
        if status in _AWAY:
            raise TransientError(f"{where} fails for the moment: {method} {path}: {status}{_said(answer)}")
        if not answer.ok:
            raise UserError(f"{where} refuses {method} {path}: {status}{_said(answer)}")
        try:
            return dict(answer.json())
        except (ValueError, TypeError):
            raise UserError(f"what answers at {url} is not Kubeflow Pipelines: it sends no JSON") from None


def _said(answer: requests.Response) -> str:
    """Return the server's own words."""
    try:
        body = answer.json()
        words = body.get("message") or body.get("error_message") or body.get("error_details")
    except (ValueError, AttributeError):
        words = answer.text[:200]
    return f" {words}" if words else ""


def _reason(error: requests.RequestException) -> str:
    """Return the innermost reason: the rest repeats the address."""
    inner: BaseException = error
    while inner.args and isinstance(inner.args[-1], BaseException):
        inner = inner.args[-1]
    reason = getattr(inner, "reason", None)
    return str(reason or inner)
