"""Read which versions are served: by the server of a state directory, or on a cluster.

Reading starts no server and changes nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from continuous_training.core.messages import report
from continuous_training.core.settings import Settings
from continuous_training.operations.serving_state import ClusterServingState, ServingState
from continuous_training.serving.models.persisted_versions import PersistedVersion
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient


def read_serving_state(settings: Settings) -> ServingState:
    """Return the served versions. Raises TransientError if the cluster is unreachable.

    A damaged list of the models that a restart loads is reported and read as an empty one, as a server does.
    """
    if settings.target != "local":
        return _read_cluster(settings)
    running = daemon.status(settings.state)
    models = {model.name: model for model in ServerClient(running).models()} if running else {}
    path = settings.state / "serving" / "models.json"
    try:
        return ServingState(running, models, _read_persisted(path))
    except ValueError as error:
        problem = f"{path} is damaged ({error}), so a restart of the server loads no model from it"
        report(f"warning: {problem}; the next rollout writes it again")
        return ServingState(running, models, {}, problem=problem)


def _read_cluster(settings: Settings) -> ClusterServingState:
    # Import here for a shorter start-up time of local commands.
    from continuous_training.adapters.kubernetes.connection import connect
    from continuous_training.operations.serving_state_kserve import read_inference_services
    from continuous_training.operations.serving_state_kubernetes import read_services
    from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer, TorchServe

    serving = settings.serving
    cluster = connect(serving.namespace, serving.kubeconfig, serving.context)
    if settings.target == "kserve":
        return read_inference_services(cluster)
    return read_services(cluster, TorchServe if settings.target == "torchserve" else ModelServer)


def _read_persisted(path: Path) -> dict[str, PersistedVersion]:
    """Return the versions in the file. Raises ValueError for a damaged file."""
    if not path.is_file():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(stored, dict):
        raise ValueError("the file is not a JSON object")
    return {name: PersistedVersion.from_json(version, name) for name, version in stored.items()}
