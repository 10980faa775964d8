"""The registry, the rollout lock and the next command for the state directory of a command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.model_registry import Registry
from continuous_training.core.errors import TransientError
from continuous_training.core.file_lock import hold_lock
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from continuous_training.core.settings import Settings, cluster_options

_RUN = "pipelines.run"
"""Its option for a cluster differs from that of the other commands."""


@contextmanager
def existing_registry(settings: Settings) -> Iterator[Registry | None]:
    """Yield the registry, or None if it is a local one that does not exist yet. Never creates one."""
    path = settings.registry.removeprefix("sqlite:///")
    if path != settings.registry and not Path(path).is_file():
        yield None
        return
    with open_registry(*settings.registry_access) as registry:
        yield registry


@contextmanager
def rollout_lock(settings: Settings, workload: str, timeout: float = 0) -> Iterator[None]:
    """Hold the lock of a workload's rollouts, after waiting at most `timeout` seconds for it.

    Raises TransientError if another command holds it.
    """
    with hold_lock(settings.state / "rollouts" / f"{workload}.lock", timeout) as acquired:
        if not acquired:
            status = next_command("pipelines.status", settings)
            raise TransientError(
                f"another rollout, rollback or prune of {workload} is in progress in {settings.state}. "
                f"Check its result before you try again:\n{status}"
            )
        yield


@contextmanager
def endpoint_lock(settings: Settings, workload: str, timeout: float) -> Iterator[None]:
    """Hold the lock of a workload's rollouts where it is served: the file on this machine, or the Lease.

    Raises TransientError if another process holds it for `timeout` seconds.
    """
    if settings.target == "local":
        with rollout_lock(settings, workload, timeout):
            yield
        return
    # Start-up time: the imports load the Kubernetes client, which local commands do not need.
    from continuous_training.adapters.kubernetes.connection import connect
    from continuous_training.rollout.kubernetes.lease import LeaseLock

    serving = settings.serving
    cluster = connect(serving.namespace, serving.kubeconfig, serving.context)
    with LeaseLock(cluster, workload, acquire_timeout=timeout).hold(report):
        yield


def rollout_settings(settings: Settings, workload: str, progress: Progress) -> Settings:
    """Return the settings of a rollout. On a cluster, new pods get the settings of the cluster."""
    if settings.target == "local":
        return settings
    # Start-up time: the import loads the Kubernetes client, which local commands do not need.
    from continuous_training.operations.pod_settings import with_pod_settings_of_cluster

    return with_pod_settings_of_cluster(settings, workload, progress)


def next_command(module: str, settings: Settings, *arguments: str) -> str:
    """Return the shell command that runs a module with the same state directory, registry and store."""
    return shlex.join(["python", "-m", module, *arguments, *_location(module, settings)])


def _location(module: str, settings: Settings) -> Sequence[str]:
    """Return the options of a command for the cluster or the state directory of the settings."""
    # With --state, the directory contains everything. Another registry, store or target comes from the
    # environment: that of the person's shell, or in a step of a pipeline that of the cluster.
    defaults = Settings.from_environment({}, settings.state)
    is_default = (settings.registry, settings.store, settings.target) == (
        defaults.registry,
        defaults.store,
        defaults.target,
    )
    is_step = settings.addresses.is_in_cluster and not is_default
    if settings.cluster or is_step:
        if module == _RUN:
            return "--target", "cluster"
        # A step does not know the context with which a person reaches its cluster.
        return settings.cluster.options if settings.cluster else cluster_options()
    needs_state = is_default and settings.state != Path(".state").resolve()
    return ("--state", str(settings.state)) if needs_state else ()
