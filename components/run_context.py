"""The context of one pipeline run, which the steps that use the registry share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from continuous_training.core.settings import Settings
from continuous_training.operations.workspace import next_command

if TYPE_CHECKING:
    # Start-up time: archive and deploy-serving use the file names of an evaluation and no workload.
    from workloads.contract import Workload


@dataclass(frozen=True)
class RunContext:
    """The workload and the id of a run, with the services that its steps use.

    `settings` determine the options of the commands that messages recommend.
    """

    workload: Workload
    run_id: str
    registry: Registry
    store: ObjectStore
    progress: Progress = report
    settings: Settings = field(default_factory=lambda: Settings.from_environment({}))

    @property
    def history(self) -> RunHistory:
        """The records of the workload's runs."""
        return RunHistory(self.store, self.workload.name, self.progress)

    def next_command(self, module: str, *arguments: str) -> str:
        """Return the shell command that runs a module for the workload."""
        return next_command(module, self.settings, "--workload", self.workload.name, *arguments)
