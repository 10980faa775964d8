"""Read which versions are served: by the server of a state directory, or on a cluster.

Reading starts no server and changes nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from continuous_training.core.errors import UserError
from continuous_training.core.settings import Settings
from continuous_training.operations.serving_state import ClusterServingState, ServingState
from continuous_training.serving.models.persisted_versions import PersistedVersion
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient


def read_serving_state(settings: Settings) -> ServingState:
    """Return the served versions.

    Raises UserError if the list of models that a restart loads is damaged, and TransientError if the cluster
    is unreachable.
    """
    if settings.target != "local":
        return _read_cluster(settings)
    running = daemon.status(settings.state)
    models = {model.name: model for model in ServerClient(running).models()} if running else {}
    return ServingState(running, models, _read_persisted(settings.state / "serving" / "models.json"))


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
    if not path.is_file():
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError("the file is not a JSON object")
        return {name: PersistedVersion.from_json(version, name) for name, version in stored.items()}
    except ValueError as error:
        raise UserError(
            f"{path} cannot be read ({error}), so it is unknown which versions a restart serves; "
            "the next rollout writes the file again"
        ) from None
