"""The trials of a model: the InferenceServices of its versions on trial.

Each trial has a name of its own, because KServe may delete the InferenceService of an earlier trial slowly.
Earlier releases used the name NAME-trial for all trials of a model. A trial is recognised by its annotation.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.retry import until
from continuous_training.core.errors import PipelineError
from continuous_training.core.progress import Progress
from continuous_training.rollout.kserve.inference_service import (
    INFERENCE_SERVICE,
    MANAGED_BY_LABELS,
    confirmed_trial_manifest,
    is_being_deleted,
    is_confirmed,
    is_trial,
    stopped_trial_manifest,
)
from continuous_training.rollout.kubernetes.readiness import label_selector
from continuous_training.rollout.kubernetes.serving_objects import MODEL_LABEL, Manifest

DELETION_TIMEOUT = 60.0
"""Seconds to wait until KServe has deleted an InferenceService. It has a finalizer of KServe."""

_MARKER_RETRY_BUDGET = 10.0
_POLL_SECONDS = 0.5


class Trials:
    """The trials of the models of one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def find(self, model: str) -> list[Manifest]:
        """Return the InferenceServices of all trials of a model, also of ended ones, the oldest first."""
        selector = label_selector(MANAGED_BY_LABELS | {MODEL_LABEL: model})
        trials = filter(is_trial, self.cluster.find(INFERENCE_SERVICE, selector))
        return sorted(trials, key=lambda trial: str(trial["metadata"].get("creationTimestamp", "")))

    def current(self, model: str) -> Manifest | None:
        """Return the last trial that is neither confirmed nor being deleted, or None."""
        trials = [trial for trial in self.find(model) if not (is_confirmed(trial) or is_being_deleted(trial))]
        return trials[-1] if trials else None

    def new_name(self, model: str) -> str:
        """Return a name that no trial of the model has. It is as long as NAME-trial."""
        names = {trial["metadata"]["name"] for trial in self.find(model)}
        while (name := f"{model}-t{secrets.token_hex(2)}") in names:
            pass
        return name

    def confirm(self, model: str, digest: str, progress: Progress) -> None:
        """Mark the trials of a model as confirmed, and delete them.

        If the process ends before the deletion, the next rollout does not restore the previous version.
        """
        self._apply_to_all(model, lambda trial: confirmed_trial_manifest(trial, digest))
        self.delete(model, progress)

    def stop(self, model: str) -> None:
        """End the servers of a model's trials, whose InferenceServices remain."""
        self._apply_to_all(model, stopped_trial_manifest)

    def _apply_to_all(self, model: str, changed: Callable[[Manifest], Manifest]) -> None:
        # A policy or KServe's absent webhook can prevent the change, but the deletion ends the trial as well.
        cluster = self.cluster.with_retry_budget(_MARKER_RETRY_BUDGET)
        for trial in self.find(model):
            if not is_being_deleted(trial):
                with suppress(PipelineError):
                    cluster.apply(INFERENCE_SERVICE, changed(trial))

    def delete(self, model: str, progress: Progress) -> None:
        """Delete all trials of a model, and wait until they do not exist any more.

        An InferenceService that still exists after DELETION_TIMEOUT counts as deleted, and is reported.
        """
        for trial in self.find(model):
            if not is_being_deleted(trial):
                self.cluster.delete(INFERENCE_SERVICE, trial["metadata"]["name"])
        for _ in until(DELETION_TIMEOUT, _POLL_SECONDS):
            trials = self.find(model)
            if not trials:
                return
        names = ", ".join(trial["metadata"]["name"] for trial in trials)
        progress(f"KServe has not deleted {names} within {DELETION_TIMEOUT:g} s; it is not used any more")
