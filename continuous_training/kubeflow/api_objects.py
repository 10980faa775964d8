"""The objects of the Kubeflow Pipelines API that the commands read and create."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from continuous_training.core.json_object import Json
from continuous_training.core.run_parameters import Value
from continuous_training.kubeflow.run_tasks import Task, tasks_of

FINAL_STATES = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
"""The states that a run does not leave."""

_TERMINATED = ("CANCELING", "CANCELED")
"""The states of a run that is being terminated. It ends with the state FAILED."""

ENABLED, DISABLED = "ENABLE", "DISABLE"
"""The modes of a recurring run."""


@dataclass(frozen=True)
class PipelineVersion:
    """A version of a pipeline on the server, by its ids."""

    pipeline_id: str
    version_id: str

    def to_json(self) -> dict[str, str]:
        """Return the `pipeline_version_reference` of a request."""
        return {"pipeline_id": self.pipeline_id, "pipeline_version_id": self.version_id}


@dataclass(frozen=True)
class RunRequest:
    """The request that starts one run. An empty service account selects the default of the server."""

    experiment_id: str
    display_name: str
    version: PipelineVersion
    parameters: Mapping[str, Value] = field(default_factory=dict)
    service_account: str = ""

    def to_json(self) -> Json:
        """Return the body of `POST /runs`."""
        return {
            "experiment_id": self.experiment_id,
            "display_name": self.display_name,
            "pipeline_version_reference": self.version.to_json(),
            "runtime_config": {"parameters": dict(self.parameters)},
            **service_account_field(self.service_account),
        }


@dataclass(frozen=True)
class Run:
    """A run and its tasks. `recurring_run_id` is empty for a run that no schedule started.

    `terminated` is True if a person ended the run. Its exit handler is ended within seconds then.
    """

    run_id: str
    display_name: str
    state: str
    recurring_run_id: str = ""
    error: str = ""
    tasks: tuple[Task, ...] = ()
    terminated: bool = False
    pipeline_id: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether the state of the run is final."""
        return self.state in FINAL_STATES

    @classmethod
    def from_json(cls, data: Json) -> Run:
        """Return the run of a response of the API."""
        return cls(
            run_id=str(data["run_id"]),
            display_name=str(data.get("display_name") or ""),
            state=str(data.get("state") or ""),
            recurring_run_id=str(data.get("recurring_run_id") or ""),
            error=str((data.get("error") or {}).get("message") or ""),
            tasks=tasks_of(data),
            # The last entry may be the state in which the run ended. A retried run has further entries.
            terminated=any(
                entry.get("state") in _TERMINATED for entry in [data, *(data.get("state_history") or [])[-2:]]
            ),
            pipeline_id=str((data.get("pipeline_version_reference") or {}).get("pipeline_id") or ""),
        )


@dataclass(frozen=True)
class RecurringRunSpec:
    """The settings of a recurring run. `cron` is the expression of the server: six fields, in UTC."""

    display_name: str
    description: str
    version: PipelineVersion
    experiment_id: str
    cron: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    max_concurrency: int = 1
    mode: str = ENABLED
    no_catchup: bool = True
    service_account: str = ""

    def to_json(self) -> Json:
        """Return the body of `POST /recurringruns`."""
        return {
            "display_name": self.display_name,
            "description": self.description,
            "pipeline_version_reference": self.version.to_json(),
            "runtime_config": {"parameters": dict(self.parameters)},
            "max_concurrency": self.max_concurrency,
            "trigger": {"cron_schedule": {"cron": self.cron}},
            "mode": self.mode,
            "no_catchup": self.no_catchup,
            "experiment_id": self.experiment_id,
            **service_account_field(self.service_account),
        }


@dataclass(frozen=True)
class RecurringRun:
    """A recurring run on the server. `created_at` is text that sorts by time."""

    recurring_run_id: str
    created_at: str
    status: str
    spec: RecurringRunSpec

    @classmethod
    def from_json(cls, data: Json) -> RecurringRun:
        """Return the recurring run of a response of the API."""
        reference = data.get("pipeline_version_reference") or {}
        return cls(
            recurring_run_id=str(data["recurring_run_id"]),
            created_at=str(data.get("created_at") or ""),
            status=str(data.get("status") or ""),
            spec=RecurringRunSpec(
                display_name=str(data.get("display_name") or ""),
                description=str(data.get("description") or ""),
                version=PipelineVersion(
                    str(reference.get("pipeline_id") or ""), str(reference.get("pipeline_version_id") or "")
                ),
                experiment_id=str(data.get("experiment_id") or ""),
                cron=str(((data.get("trigger") or {}).get("cron_schedule") or {}).get("cron") or ""),
                # The server omits the key when there are no parameters.
                parameters=(data.get("runtime_config") or {}).get("parameters") or {},
                # The server writes 64-bit numbers as text.
                max_concurrency=int(data.get("max_concurrency") or 1),
                mode=str(data.get("mode") or ""),
                no_catchup=bool(data.get("no_catchup")),
                service_account=str(data.get("service_account") or ""),
            ),
        )


def service_account_field(service_account: str) -> dict[str, str]:
    """Return the `service_account` field of a request, or no field for the default of the server."""
    return {"service_account": service_account} if service_account else {}
