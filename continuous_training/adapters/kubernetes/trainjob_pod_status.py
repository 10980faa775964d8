"""Why a pod of a TrainJob does not start, or failed."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.client import Object


def waiting_reason(pod: Object) -> str:
    """Return why a pod does not start (node, image, Secret), or an empty text if it is not waiting."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") not in ("ContainerCreating", "PodInitializing"):
            return _reason(waiting)
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _reason(condition)
    return ""


def failure_reason(pod: Object) -> str:
    """Return the reason why a pod or its container failed, or an empty text if it did not fail."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            terminated = state.get("terminated")
            if terminated and terminated.get("exitCode") != 0:
                count = container.get("restartCount")
                restarts = f", after {count} restarts" if count else ""
                reason = terminated.get("reason") or "Error"
                return f"ended with exit code {terminated['exitCode']} ({reason}){restarts}"
    return _reason(status) if status.get("phase") == "Failed" else ""


def _reason(status: Object) -> str:
    parts = (str(status.get("reason") or ""), str(status.get("message") or ""))
    return ": ".join(part for part in parts if part)
