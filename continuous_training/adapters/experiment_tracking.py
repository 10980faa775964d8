"""MLflow experiment tracking: runs with parameters, metrics, tags and files."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from continuous_training.adapters.mlflow_rest import MlflowServer
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json

_MAX_PARAMETER, _MAX_TAG = 6000, 5000
"""The lengths to which MLflow limits the values of parameters and tags."""

_MAX_METRICS = 500
"""Metrics of one request at the most. MLflow accepts 1,000 metrics, parameters and tags together."""

MAX_PROFILE = 16_777_215
"""The length to which MLflow limits the profile of a dataset."""


class ExperimentTracking(MlflowServer):
    """The runs on an MLflow server. A workload has one experiment, a pipeline run one MLflow run."""

    def run(self, name: str, pipeline_run: str) -> str:
        """Return the id of the MLflow run of a pipeline run. Creates the run if there is none."""
        experiment = self._experiment(name)
        if existing := self._runs(experiment, pipeline_run):
            return existing[0]
        tags = [{"key": "pipeline_run", "value": pipeline_run}]
        created = self.post(
            "runs/create",
            {"experiment_id": experiment, "run_name": pipeline_run, "start_time": now_ms(), "tags": tags},
        )
        # A retried call may have created a second run: keep the first one.
        first, *duplicates = self._runs(experiment, pipeline_run) or [str(created["run"]["info"]["run_id"])]
        for duplicate in duplicates:
            self.post("runs/delete", {"run_id": duplicate})
        return first

    def run_url(self, name: str, run_id: str) -> str:
        """Return the page of a run in MLflow's user interface. Empty for a server on this machine.

        Such a server ends with the pipeline run, so its address is of no use later.
        """
        if urlsplit(self.uri).hostname in {"127.0.0.1", "localhost"}:
            return ""
        return f"{self.uri}/#/experiments/{self._experiment(name)}/runs/{run_id}"

    def log_dataset(self, run_id: str, name: str, fingerprint: str, source: str, profile: str) -> None:
        """Add the dataset to a run's inputs. `profile` is a JSON text of at most MAX_PROFILE characters."""
        dataset = {
            "name": name,
            # MLflow limits a dataset's digest to 36 characters; the run's tags have the whole fingerprint.
            "digest": fingerprint[:36],
            "source_type": "source",
            "source": json.dumps({"uri": source}),
            "profile": profile,
        }
        tags = [{"key": "mlflow.data.context", "value": "training"}]
        self.post("runs/log-inputs", {"run_id": run_id, "datasets": [{"tags": tags, "dataset": dataset}]})

    def log(
        self,
        run_id: str,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Add parameters, metrics and tags to a run. Logging the same values again has no effect."""
        now = now_ms()
        values = [
            {"key": key, "value": value, "timestamp": now, "step": 0}
            for key, value in (metrics or {}).items()
        ]
        first = {
            "params": [
                {"key": key, "value": str(value)[:_MAX_PARAMETER]} for key, value in (params or {}).items()
            ],
            "metrics": values[:_MAX_METRICS],
            "tags": [{"key": key, "value": value[:_MAX_TAG]} for key, value in (tags or {}).items()],
        }
        self.post("runs/log-batch", {"run_id": run_id, **first})
        for start in range(_MAX_METRICS, len(values), _MAX_METRICS):
            part = values[start : start + _MAX_METRICS]
            self.post("runs/log-batch", {"run_id": run_id, "metrics": part})

    def log_file(self, run_id: str, path: str, data: bytes) -> None:
        """Store a file among the run's artifacts, through the server's proxy."""
        root = self.artifact_root(run_id)
        self.send("PUT", f"mlflow-artifacts/artifacts/{root}/{path}", data=data)

    def read_json(self, run_id: str, path: str) -> Json | None:
        """Return the JSON object in an artifact of the run, or None if there is no such artifact."""
        artifact = f"mlflow-artifacts/artifacts/{self.artifact_root(run_id)}/{path}"
        return self.send("GET", artifact, allowed="RESOURCE_DOES_NOT_EXIST")

    def end(self, run_id: str, status: str = "FINISHED") -> None:
        """Set the status of a run to FINISHED or FAILED."""
        self.post("runs/update", {"run_id": run_id, "status": status, "end_time": now_ms()})

    def artifact_root(self, run_id: str) -> str:
        """Return the path of a run's artifacts below the proxy.

        Raises UserError if the registry has no such run, or if there is no proxy.
        """
        response = self.get("runs/get", {"run_id": run_id})
        if response is None:
            raise UserError(f"registry {self.uri} has no run {run_id}")
        uri = str(response["run"]["info"]["artifact_uri"])
        if not uri.startswith("mlflow-artifacts:/"):
            raise UserError(
                f"registry {self.uri} does not proxy artifacts ({uri}); start it with --serve-artifacts, so "
                "that steps need no key to its storage"
            )
        return uri.removeprefix("mlflow-artifacts:/").lstrip("/")

    def _experiment(self, name: str) -> str:
        existing = self.get("experiments/get-by-name", {"experiment_name": name})
        if existing:
            return str(existing["experiment"]["experiment_id"])
        created = self.post("experiments/create", {"name": name}, allowed="RESOURCE_ALREADY_EXISTS")
        return str(created["experiment_id"]) if created else self._experiment(name)

    def _runs(self, experiment: str, pipeline_run: str) -> list[str]:
        """Return the ids of the MLflow runs of a pipeline run, the oldest first."""
        query = {
            "experiment_ids": [experiment],
            "filter": f"tags.pipeline_run = '{pipeline_run}'",
            "order_by": ["attributes.start_time ASC", "attributes.run_id ASC"],
            "max_results": 10,
        }
        runs = self.post("runs/search", query).get("runs", [])
        return [str(run["info"]["run_id"]) for run in runs]


def now_ms() -> int:
    """Return the current time in milliseconds since 1970, as MLflow stores it."""
    return int(time.time() * 1000)
