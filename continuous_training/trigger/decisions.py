"""The decisions of people about versions: approve, reject, roll back."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Literal, Protocol

from continuous_training.artifacts.run_record import RunRecord
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.settings import cluster_options
from continuous_training.serving.http.errors import HttpError

Decision = Literal["approve", "reject"]


@dataclass(frozen=True)
class RollbackRequest:
    """The `version` to serve again, and the version that must be the `champion`.

    Without `version`, it is the previous champion. Without `champion`, any version may be the champion.
    """

    version: str = ""
    champion: str = ""


class Decisions(Protocol):
    """Carries out decisions. Each method returns when a rollout has ended, which may take minutes.

    `person` is the person who decides, with the reason. Raises HttpError if the decision is not possible.
    """

    def review(self, workload: str, run: str, decision: Decision, person: RunTrigger) -> RunRecord:
        """Approve or reject the version of the run with this id in the pipeline's records."""

    def roll_back(self, workload: str, request: RollbackRequest, person: RunTrigger) -> RunRecord:
        """Serve an earlier version again. Return the record of the rollback."""


class NoDecisions:
    """The decisions of a service without the permission to change the endpoint of a cluster.

    `namespace` is that of the steps; empty for the default of the commands.
    """

    def __init__(self, namespace: str = "") -> None:
        self.namespace = namespace

    def review(self, workload: str, run: str, decision: Decision, person: RunTrigger) -> RunRecord:
        """Raise HttpError 501 with the command for the person."""
        raise self._not_permitted(decision, workload, person)

    def roll_back(self, workload: str, request: RollbackRequest, person: RunTrigger) -> RunRecord:
        """Raise HttpError 501 with the command for the person."""
        raise self._not_permitted("rollback", workload, person)

    def _not_permitted(self, action: str, workload: str, person: RunTrigger) -> HttpError:
        return HttpError(
            501,
            f"the service has no permission for {action} on this cluster; {person.caller} can do it, with: "
            f"{cluster_command(action, workload, self.namespace)}",
        )


def cluster_command(action: str, workload: str, namespace: str) -> str:
    """Return the command with which a person carries out the decision on a cluster."""
    options = ("--workload", workload, *cluster_options(namespace))
    return shlex.join(["python", "-m", f"pipelines.{action}", *options])
