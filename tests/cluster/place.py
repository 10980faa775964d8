"""A namespace of a real cluster for a test: restricted, with the accounts and the keys that servers need."""

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
from continuous_training.artifacts.archive import Archive
from continuous_training.core.settings import ServingSettings
from continuous_training.rollout.engine import roll_out
from continuous_training.rollout.kubernetes.manifests import DeployedVersion
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer
from continuous_training.rollout.kubernetes.target import KubernetesTarget
from tests.s3 import ACCESS

ROOT = Path(__file__).parents[2]
ROLE = Resource("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDING = Resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
ACCOUNT = "continuous-training"


def tagged(component: str, tag: str) -> str:
    """Return an image of the registry that the tests take them from."""
    return f"{os.environ.get('CT_TEST_REGISTRY', 'localhost:5000/continuous-training')}/{component}:{tag}"


@cache
def image(component: str) -> str:
    """Return the image of a component that `make images` has pushed for the tests.

    By its digest where the registry tells it without a login: a node keeps what a tag meant when it first
    pulled it.
    """
    named = tagged(component, os.environ.get("CT_TEST_TAG", "dev"))
    name, _, tag = named.rpartition(":")
    host, _, path = name.partition("/")
    kinds = ("docker.distribution.manifest.v2", "oci.image.manifest.v1", "oci.image.index.v1")
    accept = ", ".join(f"application/vnd.{kind}+json" for kind in kinds)
    with suppress(requests.RequestException):
        told = requests.head(
            f"http://{host}/v2/{path}/manifests/{tag}", headers={"accept": accept}, timeout=5
        )
        if told.ok and "docker-content-digest" in told.headers:
            return f"{name}@{told.headers['docker-content-digest']}"
    return named


@dataclass
class Place:
    """One namespace, and the store that its pods read."""

    cluster: Cluster
    store: ObjectStore
    settings: ServingSettings
    told: list[str] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return self.cluster.namespace

    def target(self, cluster: Cluster | None = None, **changes: Any) -> KubernetesTarget:
        """Return the target under test, with other settings where given."""
        settings = replace(self.settings, **changes)
        target = KubernetesTarget(
            cluster or self.cluster, settings, self.store, self.tell, ModelServer(settings)
        )
        target.lease_seconds = 3
        return target

    def tell(self, line: str) -> None:
        self.told.append(line)
        print(line)

    def keep(self, archive: Archive) -> Archive:
        """Put an archive into the store, as the archive step does."""
        self.store.put_if_absent(f"archives/{archive.name}/{archive.digest}.mar", archive.path)
        return archive

    def deploy(
        self,
        archive: Archive,
        make_champion: Callable[[], None] = lambda: None,
        target: KubernetesTarget | None = None,
        **changes: Any,
    ) -> KubernetesTarget:
        """Roll an archive out, as deploy-serving does."""
        self.keep(archive)
        target = target or self.target(**changes)
        with target.rollout_lock(archive.name, self.tell):
            roll_out(target, archive.name, archive.path, archive.digest, make_champion, self.tell)
        return target

    def answers(self, archive: Archive, requests: int = 10) -> bool:
        """Tell whether it is this version, and no other, that answers at the endpoint."""
        target = self.target()
        for _ in range(requests):
            target.predict(archive.name, {"x": [1.0]}, archive.digest)
        return True

    def wait_until_gone(self, archive: Archive) -> None:
        """Wait until the last pod of a version has ended."""
        labels = ",".join(
            f"{k}={v}" for k, v in DeployedVersion(archive.name, archive.digest).pod_labels.items()
        )
        self.kubectl("wait", "--for=delete", "pod", "-l", labels, "--timeout=60s")

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl in the namespace; returns what it prints."""
        return kubectl("-n", self.namespace, *arguments, text=text)

    def account(self, rules: list[dict[str, Any]], name: str = ACCOUNT) -> None:
        """Make a service account with a Role of these rules."""
        self.cluster.apply(SERVICE_ACCOUNT, {"metadata": {"name": name}})
        self.cluster.apply(ROLE, {"metadata": {"name": name}, "rules": rules})
        self.cluster.apply(
            ROLE_BINDING,
            {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.namespace}],
            },
        )


def kubectl(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shipped_rules(*components: str) -> list[dict[str, Any]]:
    """Return the rules that the manifests' base gives to the steps, and those that the components add."""
    files = ["base/role.yaml", *(f"components/{component}/role.yaml" for component in components)]
    names = {ACCOUNT, *(f"{ACCOUNT}-{component}" for component in components)}
    found = (one for file in files for one in yaml.safe_load_all((ROOT / "manifests" / file).read_text()))
    roles = [one for one in found if one["kind"] == "Role" and one["metadata"]["name"] in names]
    assert len(roles) == len(files)
    return [rule for role in roles for rule in role["rules"]]


def serving_settings(namespace: str, uri: str) -> ServingSettings:
    """Return small servers of the archives at `uri`, in that namespace."""
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
def namespace(store: ObjectStore, uri: str) -> Iterator[Place]:
    """Make a namespace that enforces Pod Security `restricted`, and remove it afterwards."""
    name = f"rollout-{secrets.token_hex(3)}"
    cluster = connect(name, os.environ["KUBECONFIG"], say=print)
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.create(NAMESPACE, {"metadata": {"name": name, "labels": level}})
    try:
        cluster.apply(SERVICE_ACCOUNT, {"metadata": {"name": "model-server"}})
        keys = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ACCESS, strict=True))
        data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
        cluster.apply(SECRET, {"metadata": {"name": "model-server"}, "data": data})
        yield Place(cluster, store, serving_settings(name, uri))
    finally:
        cluster.delete(NAMESPACE, name)
