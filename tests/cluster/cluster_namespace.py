"""Test namespaces on a real cluster, with Pod Security `restricted` and the account of the model servers."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import requests
import yaml

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.connection import connect
from continuous_training.adapters.kubernetes.resources import NAMESPACE, SECRET, SERVICE_ACCOUNT, Resource
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.rollout.engine import roll_out
from continuous_training.rollout.kubernetes.readiness import label_selector
from continuous_training.rollout.kubernetes.required_permissions import Permission
from continuous_training.rollout.kubernetes.serving_objects import Manifest, pod_labels
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer
from continuous_training.rollout.kubernetes.target import KubernetesTarget
from continuous_training.rollout.trial import DeployedVersion
from tests.s3 import ACCESS

ROOT = Path(__file__).parents[2]
ROLE = Resource("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDING = Resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
QUOTA = Resource("v1", "ResourceQuota", "resourcequotas")
ACCOUNT = "continuous-training"
TEST_LEASE_SECONDS = 3
KUBECTL_TIMEOUT = 120


def tagged_image(component: str, tag: str) -> str:
    """Return an image of the registry CT_TEST_REGISTRY."""
    registry = os.environ.get("CT_TEST_REGISTRY", "localhost:5000/continuous-training")
    return f"{registry}/{component}:{tag}"


MISSING_IMAGE = tagged_image("serving", "no-such-tag")


@cache
def image(component: str) -> str:
    """Return the image of a component that `make images` pushed with the tag CT_TEST_TAG.

    The result contains the digest if the registry returns it without authentication. With a tag, a node would
    use the image that it pulled under this tag before.
    """
    tagged = tagged_image(component, os.environ.get("CT_TEST_TAG", "dev"))
    name, _, tag = tagged.rpartition(":")
    host, _, path = name.partition("/")
    media_types = ("docker.distribution.manifest.v2", "oci.image.manifest.v1", "oci.image.index.v1")
    accept = ", ".join(f"application/vnd.{media_type}+json" for media_type in media_types)
    with suppress(requests.RequestException):
        response = requests.head(
            f"http://{host}/v2/{path}/manifests/{tag}", headers={"accept": accept}, timeout=5
        )
        if response.ok and "docker-content-digest" in response.headers:
            return f"{name}@{response.headers['docker-content-digest']}"
    return tagged


@dataclass
class ClusterNamespace:
    """One namespace, the store that its pods read, and the progress messages of its rollouts."""

    cluster: Cluster
    store: ObjectStore
    settings: ServingSettings
    messages: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.cluster.namespace

    def target(self, cluster: Cluster | None = None, **changes: Any) -> KubernetesTarget:
        """Return the target under test, with `changes` to its settings."""
        settings = replace(self.settings, **changes)
        target = KubernetesTarget(
            cluster or self.cluster, settings, self.store, self.progress, ModelServer(settings)
        )
        target.lease_seconds = TEST_LEASE_SECONDS
        return target

    def progress(self, message: str) -> None:
        self.messages.append(message)
        print(message)

    def store_archive(self, archive: Archive) -> Archive:
        """Put an archive into the store, as the archive step does."""
        self.store.put_if_absent(f"archives/{archive.name}/{archive.digest}.mar", archive.path)
        return archive

    def deploy(
        self,
        archive: Archive,
        make_champion: Callable[[], None] = lambda: None,
        target: Any = None,
        **changes: Any,
    ) -> Any:
        """Roll out an archive, as deploy-serving does; return the deployment target."""
        self.store_archive(archive)
        target = target or self.target(**changes)
        with target.rollout_lock(archive.name, self.progress):
            roll_out(target, archive.name, archive.path, archive.digest, make_champion, self.progress)
        return target

    def serves(self, archive: Archive, requests: int = 10) -> bool:
        """Send requests to the endpoint. Raise an error if another version responds."""
        target = self.target()
        for _ in range(requests):
            target.predict(archive.name, {"x": [1.0]}, archive.digest)
        return True

    def wait_until_pods_are_deleted(self, archive: Archive) -> None:
        """Wait until all pods of a version are deleted."""
        selector = label_selector(pod_labels(DeployedVersion(archive.name, archive.digest)))
        self.kubectl("wait", "--for=delete", "pod", "-l", selector, "--timeout=60s")

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace; return its output."""
        return kubectl("-n", self.name, *arguments, stdin=stdin)

    def create_account(self, rules: list[dict[str, Any]], name: str = ACCOUNT) -> None:
        """Create a service account with a Role of these rules."""
        self.cluster.apply(SERVICE_ACCOUNT, {"metadata": {"name": name}})
        self.cluster.apply(ROLE, {"metadata": {"name": name}, "rules": rules})
        self.cluster.apply(
            ROLE_BINDING,
            {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.name}],
            },
        )


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Run kubectl; return its output."""
    completed = subprocess.run(
        ["kubectl", *arguments], input=stdin, capture_output=True, text=True, timeout=KUBECTL_TIMEOUT
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def role_rules(permissions: tuple[Permission, ...]) -> list[Manifest]:
    """Return the rules of a Role that grants exactly these permissions."""
    return [
        {
            "apiGroups": [resource.group],
            "resources": [f"{resource.plural}/{subresource}" if subresource else resource.plural],
            "verbs": list(allowed_verbs),
        }
        for resource, subresource, allowed_verbs in permissions
    ]


def shipped_rules(*components: str) -> list[dict[str, Any]]:
    """Return the rules of the steps' Role in manifests/base, and those that the components add."""
    files = ["base/role.yaml", *(f"components/{component}/role.yaml" for component in components)]
    names = {ACCOUNT, *(f"{ACCOUNT}-{component}" for component in components)}
    documents = (
        document for file in files for document in yaml.safe_load_all((ROOT / "manifests" / file).read_text())
    )
    roles = [
        document
        for document in documents
        if document["kind"] == "Role" and document["metadata"]["name"] in names
    ]
    assert len(roles) == len(files)
    return [rule for role in roles for rule in role["rules"]]


def serving_settings(namespace: str, uri: str) -> ServingSettings:
    """Return settings for small model servers of the archives in the store `uri`."""
    return ServingSettings(
        namespace=namespace,
        image=image("serving"),
        store=uri,
        replicas=1,
        max_replicas=2,
        cpu="20m",
        memory="256Mi",
        deadline=60,
        kubeconfig=os.environ["KUBECONFIG"],
    )


@contextmanager
def create_namespace(store: ObjectStore, uri: str) -> Iterator[ClusterNamespace]:
    """Create a namespace that enforces Pod Security `restricted`, and delete it afterwards."""
    name = f"rollout-{secrets.token_hex(3)}"
    cluster = connect(name, os.environ["KUBECONFIG"], progress=print)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.create(NAMESPACE, {"metadata": {"name": name, "labels": labels}})
    try:
        cluster.apply(SERVICE_ACCOUNT, {"metadata": {"name": "model-server"}})
        keys = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ACCESS, strict=True))
        data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
        cluster.apply(SECRET, {"metadata": {"name": "model-server"}, "data": data})
        yield ClusterNamespace(cluster, store, serving_settings(name, uri))
    finally:
        cluster.delete(NAMESPACE, name)
