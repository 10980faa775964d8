"""Read what is served: by the server of a state directory, or on a cluster. Starts and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

from continuous_training.core.errors import UserError
from continuous_training.core.settings import Settings
from continuous_training.operations.serving_state import ClusterServing, Serving
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient


def look(settings: Settings) -> Serving:
    """Return what is served; UserError when what a restart would load cannot be read.

    On a cluster TransientError when it cannot be reached.
    """
    if settings.target != "local":
        return _look_at_cluster(settings)
    state = settings.state
    running = daemon.status(state)
    rows = [model.to_json() for model in ServerClient(running).models()] if running else []
    return Serving(running, {row["name"]: row for row in rows}, _confirmed(state / "serving" / "models.json"))


def _look_at_cluster(settings: Settings) -> ClusterServing:
    # Imported here to keep the start-up time of local commands short.
    from continuous_training.adapters.kubernetes.connection import connect
    from continuous_training.operations.serving_state_kserve import look_at_kserve
    from continuous_training.operations.serving_state_kubernetes import look_at_cluster
    from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer, TorchServe

    serving = settings.serving
    cluster = connect(serving.namespace, serving.kubeconfig, serving.context)
    if settings.target == "kserve":
        return look_at_kserve(cluster)
    return look_at_cluster(cluster, TorchServe if settings.target == "torchserve" else ModelServer)


def _confirmed(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: {key: str(row[key]) for key in ("archive", "digest")} for name, row in found.items()}
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({error!r}), so it is unknown what is served after a restart; "
            "the next rollout writes it anew"
        ) from None
