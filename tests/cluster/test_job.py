"""The deploy-serving step as a Job: a pod of its image, with the permissions of the shipped Role only."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from continuous_training.adapters import model_store
from continuous_training.adapters.kubernetes.resources import CONFIG_MAP, JOB, POD
from continuous_training.adapters.model_registry import Registry
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.artifacts.archived_model import ArchivedModel
from continuous_training.artifacts.evaluation import TrackingRun
from continuous_training.rollout.kubernetes.serving_objects import Manifest
from tests.continuous_training.serving.toy_models import make_archive

from .cluster_namespace import ACCOUNT, ClusterNamespace, image, shipped_rules
from .kserve import crd
from .kserve.kserve_namespace import simulated_kserve

JOB_TIMEOUT = 150


class ForwardingServer(ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture
def registry_uri(registry: Registry, host: str) -> Iterator[str]:
    """The address of the registry for pods; the registry itself listens only on the loopback address."""
    port = int(registry.uri.rpartition(":")[2])

    class Forward(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as upstream:
                response = threading.Thread(target=copy_stream, args=(upstream, self.request), daemon=True)
                response.start()
                copy_stream(self.request, upstream)
                response.join()

    with ForwardingServer((host, 0), Forward) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{host}:{server.server_address[1]}"
        server.shutdown()


def copy_stream(source: socket.socket, destination: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            destination.sendall(data)
        destination.shutdown(socket.SHUT_WR)


def register(namespace: ClusterNamespace, registry: Registry, archive: Archive, run: str) -> ArchivedModel:
    """Register an archive, as the archive step does; return the output of that step."""
    namespace.store_archive(archive)
    key = f"archives/{archive.name}/{archive.digest}.mar"
    tags = {"archive_digest": archive.digest, "archive_key": key, "pipeline_run": run, "recipe": run}
    version = registry.register(archive.name, registry.run(archive.name, run), tags)
    champion = registry.champion(archive.name)
    return ArchivedModel(
        workload=archive.name,
        version=version.version,
        digest=archive.digest,
        key=key,
        run=run,
        input_digest=run,
        evaluated_champion=champion.version if champion else None,
        reasons=("it is better",),
        metrics={},
        registry=TrackingRun("", ""),
    )


def run_job(
    namespace: ClusterNamespace, archived: ArchivedModel, registry_uri: str, **environment: str
) -> tuple[int, str]:
    """Run the step as a Job; return its exit code and its log."""
    name, cluster = f"deploy-{archived.run}", namespace.cluster
    data = {"archived.json": json.dumps(archived.to_json())}
    cluster.apply(CONFIG_MAP, {"metadata": {"name": name}, "data": data})
    cluster.create(JOB, job_manifest(namespace, name, registry_uri, environment))
    deadline = time.monotonic() + JOB_TIMEOUT
    while time.monotonic() < deadline:
        for pod in cluster.find(POD, f"job-name={name}"):
            for status in pod.get("status", {}).get("containerStatuses", []):
                if terminated := status["state"].get("terminated"):
                    log = "\n".join(cluster.logs(pod["metadata"]["name"], lines=200))
                    print(log)
                    return int(terminated["exitCode"]), log
        time.sleep(0.3)
    raise AssertionError(namespace.kubectl("describe", "job,pod", "-l", f"job-name={name}"))


def job_manifest(
    namespace: ClusterNamespace, name: str, registry_uri: str, environment: dict[str, str]
) -> Manifest:
    variables = {
        "CT_TARGET": "kubernetes",
        "CT_STORE": namespace.settings.store,
        "MLFLOW_TRACKING_URI": registry_uri,
        "CT_SERVING_IMAGE": namespace.settings.image,
        "CT_SERVING_REPLICAS": "1",
        "CT_SERVING_CPU": "20m",
        "CT_SERVING_MEMORY": "256Mi",
        "CT_ROLLOUT_DEADLINE": "60",
        **environment,
    }
    command = ["python", "-m", "components.deploy_serving"]
    command += ["--archive", "/archived", "--output", "/tmp/deployed.json"]
    container = {
        "name": "step",
        "image": image("deploy-serving"),
        "command": command,
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "envFrom": [{"secretRef": {"name": "model-server"}}],
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "archived", "mountPath": "/archived"},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "serviceAccountName": ACCOUNT,
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "archived", "configMap": {"name": name}}],
    }
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": pod}}}


def test_step_runs_as_a_job_with_the_shipped_role(
    own_namespace: ClusterNamespace, registry: Registry, registry_uri: str, name: str, tmp_path: Path
) -> None:
    namespace = own_namespace
    namespace.create_account(shipped_rules())
    first = make_archive(tmp_path, name=name)
    incorrect = make_archive(tmp_path, name=name, scale=3, wrong=True)
    third = make_archive(tmp_path, name=name, scale=4)

    code, log = run_job(namespace, register(namespace, registry, first, "one"), registry_uri)
    assert code == 0, log
    assert f"endpoint: http://{name}.{namespace.name}.svc/predict/{name}" in log
    assert namespace.serves(first)

    code, log = run_job(namespace, register(namespace, registry, incorrect, "two"), registry_uri)
    assert code == 4, log
    assert f"the previous version {first.digest[:12]} answers again" in log
    assert namespace.serves(first)

    archived = register(namespace, registry, third, "three")
    code, log = run_job(namespace, archived, registry_uri, CT_CANARY="50", CT_CANARY_SECONDS="2")
    assert code == 0, log
    assert "canary: promoted" in log
    assert namespace.serves(third)
    champion = registry.champion(name)
    assert champion is not None
    assert champion.digest == third.digest
    assert model_store.find(namespace.store, name).digest == third.digest


def test_step_runs_as_a_job_with_kserve(
    own_namespace: ClusterNamespace, registry: Registry, registry_uri: str, name: str, tmp_path: Path
) -> None:
    namespace = own_namespace
    namespace.create_account(shipped_rules("kserve"))
    first = make_archive(tmp_path, name=name)
    incorrect = make_archive(tmp_path, name=name, scale=3, wrong=True)
    with crd.installed(namespace.cluster), simulated_kserve(namespace) as (kserve_namespace, _):
        archived = register(namespace, registry, first, "one")
        code, log = run_job(namespace, archived, registry_uri, CT_TARGET="kserve")
        assert code == 0, log
        assert f"endpoint: {kserve_namespace.target().url(name)}" in log
        assert kserve_namespace.serves(first)

        archived = register(namespace, registry, incorrect, "two")
        code, log = run_job(namespace, archived, registry_uri, CT_TARGET="kserve")
        assert code == 4, log
        assert f"the previous version {first.digest[:12]} answers again" in log
        assert kserve_namespace.serves(first)
    champion = registry.champion(name)
    assert champion is not None
    assert champion.digest == first.digest
