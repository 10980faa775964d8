"""How a pod stands, in words."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.client import Object


def why_waiting(pod: Object) -> str:
    """Say what a pod waits for: a node, an image, a Secret; empty when it waits for nothing."""
    status = pod.get("status") or {}
    for one in status.get("containerStatuses") or []:
        waiting = (one.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") not in ("ContainerCreating", "PodInitializing"):
            return _reason(waiting)
    for one in status.get("conditions") or []:
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return _reason(one)
    return ""


def why_failed(pod: Object) -> str:
    """Say how a pod, or the last run of its container, ended; empty when that was well, or it never ended."""
    status = pod.get("status") or {}
    for one in status.get("containerStatuses") or []:
        for state in (one.get("state") or {}, one.get("lastState") or {}):
            ended = state.get("terminated")
            if ended and ended.get("exitCode") != 0:
                again = f", after {one['restartCount']} restarts" if one.get("restartCount") else ""
                return f"ended with exit code {ended['exitCode']} ({ended.get('reason') or 'Error'}){again}"
    return _reason(status) if status.get("phase") == "Failed" else ""


def _reason(thing: Object) -> str:
    parts = (str(thing.get("reason") or ""), str(thing.get("message") or ""))
    return ": ".join(part for part in parts if part)
