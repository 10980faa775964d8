"""A deployment target in memory. It shows how little a new target implements, and serves the toy model."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.errors import TransientError
from continuous_training.core.progress import Progress
from continuous_training.rollout.base_target import BaseTarget
from continuous_training.rollout.trial import DeployedVersion, InterruptedTrial, Trial, trial_name


@dataclass
class Scheduler:
    """The scheduler that runs the versions. It outlives the processes that change it.

    `routes` and `confirmed` contain digests, by the name of an endpoint or of a model.
    """

    jobs: set[DeployedVersion] = field(default_factory=set)
    routes: dict[str, str] = field(default_factory=dict)
    confirmed: dict[str, str] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)


class MemoryTarget(BaseTarget[Trial]):
    """The versions that a `Scheduler` runs."""

    def __init__(self, scheduler: Scheduler, store: ObjectStore, progress: Progress) -> None:
        super().__init__(store, progress)
        self.scheduler = scheduler

    @contextmanager
    def hold_lock(self, name: str, progress: Progress) -> Iterator[None]:
        with self.scheduler.lock:
            yield

    def served_digest(self, name: str) -> str | None:
        return self.scheduler.routes.get(name)

    def address(self, name: str) -> str:
        return name

    def url(self, name: str) -> str:
        return f"memory://{name}"

    def send(self, address: str, version: DeployedVersion, request: Any) -> tuple[Any, str]:
        digest = self.scheduler.routes.get(address, "")
        served = DeployedVersion(version.name, digest)
        if served not in self.scheduler.jobs:
            raise TransientError(f"{address} does not respond")
        with zipfile.ZipFile(self.archives.path(served)) as archive:
            scale = json.loads(archive.read("settings.json"))["scale"]
        return {"scale": scale, "y": [scale * x for x in request["x"]]}, digest

    def prepare_trial(self, version: DeployedVersion) -> Trial:
        return Trial(version, self.served_version(version.name))

    def start_trial(self, trial: Trial) -> None:
        self.scheduler.jobs.add(trial.version)
        self.scheduler.routes[trial_name(trial.version.name)] = trial.version.digest

    def switch(self, trial: Trial) -> None:
        self.scheduler.routes[trial.version.name] = trial.version.digest
        self.wait_for_responses(trial.version.name, trial.version)

    def confirm(self, name: str, digest: str) -> None:
        self.scheduler.confirmed[name] = digest
        self._remove_all_except(name, digest)

    def revert(self, name: str, digest: str) -> None:
        self.restore(name)

    def find_interrupted_trial(self, name: str) -> InterruptedTrial | None:
        digest = self.scheduler.routes.get(trial_name(name))
        return InterruptedTrial(digest, self.scheduler.confirmed.get(name, "")) if digest else None

    def restore(self, name: str) -> None:
        confirmed = self.scheduler.confirmed.get(name)
        if confirmed:
            self.scheduler.routes[name] = confirmed
        else:
            self.scheduler.routes.pop(name, None)
        self._remove_all_except(name, confirmed)

    def _remove_all_except(self, name: str, digest: str | None) -> None:
        self.scheduler.routes.pop(trial_name(name), None)
        self.scheduler.jobs -= {
            job for job in self.scheduler.jobs if job.name == name and job.digest != digest
        }
