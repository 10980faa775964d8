"""deploy-serving as it runs in a pipeline: a pod of its image, with the shipped Role and nothing more."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import pytest

from components.archive.step import Archived
from continuous_training.adapters import model_store
from continuous_training.adapters.kubernetes.resources import CONFIG_MAP, JOB, POD
from continuous_training.adapters.model_registry import Registry
from continuous_training.artifacts.archive import Archive
from tests.continuous_training.serving.toy_models import make_archive

from .kserve import crd
from .kserve.place import playing
from .place import ACCOUNT, Place, image, shipped_rules


class Server(ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture
def registry_uri(registry: Registry, host: str) -> Iterator[str]:
    """The registry's address as pods reach it: it listens on loopback alone."""
    port = int(registry.uri.rpartition(":")[2])

    class Forward(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as there:
                back = threading.Thread(target=copy, args=(there, self.request), daemon=True)
                back.start()
                copy(self.request, there)
                back.join()

    with Server((host, 0), Forward) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{host}:{server.server_address[1]}"
        server.shutdown()


def copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def register(place: Place, registry: Registry, archive: Archive, run: str) -> Archived:
    """Register an archive as the archive step does; returns what it hands on."""
    place.keep(archive)
    key = f"archives/{archive.name}/{archive.digest}.mar"
    tags = {"archive_digest": archive.digest, "archive_key": key, "pipeline_run": run, "recipe": run}
    version = registry.register(archive.name, registry.run(archive.name, run), tags)
    champion = registry.champion(archive.name)
    return Archived(
        workload=archive.name,
        version=version.version,
        digest=archive.digest,
        key=key,
        run=run,
        recipe=run,
        judged_against=champion and champion.version,
        reasons=["it is better"],
        metrics={},
        registry={},
    )


def run_job(place: Place, archived: Archived, registry_uri: str, **environment: str) -> tuple[int, str]:
    """Run the step as a Job; returns its exit code and its log."""
    name = f"deploy-{archived.run}"
    data = {"archived.json": json.dumps(asdict(archived))}
    place.cluster.apply(CONFIG_MAP, {"metadata": {"name": name}, "data": data})
    place.cluster.create(JOB, _job(place, name, registry_uri, environment))
    end = time.monotonic() + 150
    while time.monotonic() < end:
        for pod in place.cluster.find(POD, f"job-name={name}"):
            for status in pod.get("status", {}).get("containerStatuses", []):
                if ended := status["state"].get("terminated"):
                    lines = place.cluster.logs(pod["metadata"]["name"], lines=200)
                    return int(ended["exitCode"]), "\n".join(lines)
        time.sleep(0.3)
    raise AssertionError(place.kubectl("describe", "job,pod", "-l", f"job-name={name}"))


def _job(place: Place, name: str, registry_uri: str, environment: dict[str, str]) -> dict[str, Any]:
    settings = {
        "CT_TARGET": "kubernetes",
        "CT_STORE": place.settings.store,
        "MLFLOW_TRACKING_URI": registry_uri,
        "CT_SERVING_IMAGE": place.settings.image,
        "CT_SERVING_REPLICAS": "1",
        "CT_SERVING_CPU": "20m",
        "CT_SERVING_MEMORY": "256Mi",
        "CT_ROLLOUT_DEADLINE": "60",
        **environment,
    }
    command = [
        "python",
        "-m",
        "components.deploy_serving",
        "--archive",
        "/archived",
        "--output",
        "/tmp/deployed.json",
    ]
    container = {
        "name": "step",
        "image": image("deploy-serving"),
        "command": command,
        "env": [{"name": key, "value": value} for key, value in settings.items()],
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


def test_the_step_as_a_job_with_the_shipped_role(
    own: Place, registry: Registry, registry_uri: str, name: str, tmp_path: Path
) -> None:
    own.account(shipped_rules())
    one = make_archive(tmp_path, name=name)
    two = make_archive(tmp_path, name=name, scale=3, wrong=True)
    three = make_archive(tmp_path, name=name, scale=4)

    code, log = run_job(own, register(own, registry, one, "one"), registry_uri)
    print(log)
    assert code == 0, log
    assert f"endpoint: http://{name}.{own.namespace}.svc/predict/{name}" in log
    assert own.answers(one)

    code, log = run_job(own, register(own, registry, two, "two"), registry_uri)
    print(log)
    assert code == 4, log
    assert f"the former version {one.digest[:12]} answers again" in log
    assert own.answers(one)

    code, log = run_job(
        own, register(own, registry, three, "three"), registry_uri, CT_CANARY="50", CT_CANARY_SECONDS="2"
    )
    print(log)
    assert code == 0, log
    assert "canary: promoted" in log
    assert own.answers(three)
    champion = registry.champion(name)
    assert champion is not None
    assert champion.digest == three.digest
    assert model_store.find(own.store, name).digest == three.digest


def test_the_step_as_a_job_where_kserve_serves(
    own: Place, registry: Registry, registry_uri: str, name: str, tmp_path: Path
) -> None:
    own.account(shipped_rules("kserve"))
    one = make_archive(tmp_path, name=name)
    two = make_archive(tmp_path, name=name, scale=3, wrong=True)
    with crd.installed(own.cluster), playing(own) as (here, _):
        code, log = run_job(own, register(own, registry, one, "one"), registry_uri, CT_TARGET="kserve")
        print(log)
        assert code == 0, log
        assert f"endpoint: {here.target().url(name)}" in log
        assert here.answers(one)

        code, log = run_job(own, register(own, registry, two, "two"), registry_uri, CT_TARGET="kserve")
        print(log)
        assert code == 4, log
        assert f"the former version {one.digest[:12]} answers again" in log
        assert here.answers(one)
    champion = registry.champion(name)
    assert champion is not None
    assert champion.digest == one.digest
