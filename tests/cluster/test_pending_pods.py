"""The reasons why pods of a run do not start, on a real cluster."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.resources import POD
from continuous_training.kubeflow.pending_pods import find_pending_pods

from .cluster_namespace import MISSING_IMAGE, ClusterNamespace, image
from .polling import wait_until


def create_pod(namespace: ClusterNamespace, name: str, run: str, labels: dict[str, str], **container) -> None:
    security = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    isolation = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    main = {"name": "main", "securityContext": isolation, **container}
    spec = {"restartPolicy": "Never", "securityContext": security, "containers": [main]}
    namespace.cluster.apply(
        POD, {"metadata": {"name": name, "labels": {"pipeline/runid": run, **labels}}, "spec": spec}
    )


def test_a_pod_for_which_no_node_has_room_and_a_pod_without_an_image(
    shared_namespace: ClusterNamespace,
) -> None:
    train, evaluate = ({"continuous-training/step": step} for step in ("train", "evaluate"))
    cpu = {"requests": {"cpu": "1000"}, "limits": {"cpu": "1000"}}
    create_pod(shared_namespace, "too-large", "run-1", train, image=image("notify"), resources=cpu)
    create_pod(shared_namespace, "no-image", "run-1", evaluate, image=MISSING_IMAGE)
    create_pod(shared_namespace, "other-run", "run-2", train, image=MISSING_IMAGE)

    def reasons() -> dict[str, str]:
        return find_pending_pods(shared_namespace.cluster, "run-1")

    assert wait_until(lambda: len(reasons()) == 2, 60)
    assert reasons()["train"].startswith("pod too-large cannot be scheduled: 0/1 nodes are available")
    assert "Insufficient cpu" in reasons()["train"]
    assert reasons()["evaluate"].startswith("pod no-image cannot start: ")
    for name in ("too-large", "no-image", "other-run"):
        shared_namespace.cluster.delete(POD, name)
