"""An API server accepts the objects of the overlays in a namespace that enforces `restricted` pods."""

from __future__ import annotations

import pytest

from .kube import Kube
from .rendering import MANIFESTS, OVERLAYS, Object, pod_templates, render

pytestmark = pytest.mark.cluster

CORE = {"v1", "apps/v1", "batch/v1", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1"}


@pytest.mark.parametrize("folder", [*(f"overlays/{name}" for name in OVERLAYS), "schedules"])
def test_the_api_server_accepts_every_object(folder: str, kube: Kube) -> None:
    objects = [in_namespace(item, kube.namespace) for item in render(MANIFESTS / folder)]
    core_objects = [item for item in objects if item["apiVersion"] in CORE]
    # The cluster may not have the other kinds. test_render.py validates them with their schemas.
    assert {item["kind"] for item in objects if item not in core_objects} <= {
        "AuthorizationPolicy",
        "PodDefault",
    }
    kube.apply(*core_objects, options=("--dry-run=server", "--validate=strict"))


def test_pod_security_restricted_admits_every_pod(kube: Kube) -> None:
    for name, template in pod_templates(render(MANIFESTS / "overlays/standalone")).items():
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": template["metadata"]["labels"]},
            "spec": template["spec"] | {"volumes": [*template["spec"]["volumes"], *claims(template)]},
        }
        output = kube.apply(pod, options=("--dry-run=server",))
        assert "violates PodSecurity" not in output


def test_pod_security_restricted_rejects_a_root_pod(kube: Kube) -> None:
    root = {"name": "root", "image": "registry", "securityContext": {"runAsUser": 0}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"}, "spec": {"containers": [root]}}
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        kube.apply(pod, options=("--dry-run=server",))


def test_an_unedited_secret_example_is_rejected(kube: Kube) -> None:
    with pytest.raises(AssertionError, match="illegal base64"):
        kube.run("create", "--dry-run=server", "-f", MANIFESTS / "base/secret.example.yaml")


def in_namespace(item: Object, namespace: str) -> Object:
    """Return the object as a kustomization with another namespace renders it."""
    return item | {"metadata": item["metadata"] | {"namespace": namespace}}


def claims(template: Object) -> list[Object]:
    """Return empty volumes in place of the claims of a StatefulSet."""
    defined = {volume["name"] for volume in template["spec"]["volumes"]}
    mounted = {mount["name"] for c in template["spec"]["containers"] for mount in c.get("volumeMounts", [])}
    return [{"name": name, "emptyDir": {}} for name in sorted(mounted - defined)]
