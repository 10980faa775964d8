"""The standalone overlay on a cluster: it comes up, keeps its doors, and a model put through it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.artifacts.archive import read_manifest
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.errors import UserError

from . import steps
from .conftest import Installed

pytestmark = pytest.mark.cluster


def test_the_registry_answers_to_its_own_names_alone(installed: Installed) -> None:
    namespace = installed.kube.namespace
    with installed.kube.forwarded("service/registry", 5000) as address:

        def status(host: str) -> int:
            url = f"http://{address}/api/2.0/mlflow/experiments/get"
            answer = requests.get(url, {"experiment_id": "0"}, headers={"host": host}, timeout=30)
            return answer.status_code

        names = [
            "registry:5000",
            f"registry.{namespace}.svc:5000",
            f"registry.{namespace}.svc.cluster.local:5000",
        ]
        assert [status(name) for name in names] == [200, 200, 200]
        assert [status(name) for name in ("evil.example", "registry.evil.example:5000")] == [403, 403]


def test_each_key_opens_what_its_holder_needs(installed: Installed) -> None:
    with installed.kube.forwarded("service/store", 9000) as address:

        def opened(secret: str, bucket: str = "continuous-training") -> ObjectStore:
            held = steps.keys(installed.kube, secret)
            access = (held["AWS_ACCESS_KEY_ID"], held["AWS_SECRET_ACCESS_KEY"])
            return open_store(f"s3://{bucket}?endpoint={address}&secure=false", access)

        for key in ("aliases/a.json", "archives/a.mar", "records/a.json"):
            opened("continuous-training").write(key, b"{}")
        server = opened("model-server")
        assert server.read("aliases/a.json") == server.read("archives/a.mar") == b"{}"
        refused = [
            lambda: server.read("records/a.json"),
            lambda: server.write("aliases/a.json", b"another"),
            lambda: server.delete("archives/a.mar"),
            lambda: opened("registry").read("aliases/a.json"),
            lambda: opened("continuous-training", "registry").read("any"),
        ]
        for attempt in refused:
            with pytest.raises(UserError, match="AccessDenied"):
                attempt()


def test_digits_from_raw_data_to_an_answering_endpoint(installed: Installed, tmp_path: Path) -> None:
    kube = installed.kube
    code, log = steps.carry_through(kube, "digits")
    assert code == 0, log
    with steps.environment(kube) as environment:
        access = (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        champion = Registry(environment["MLFLOW_TRACKING_URI"]).champion("digits")
        assert champion is not None
        archive = open_store(environment["CT_STORE"], access).fetch(champion.archive, tmp_path)
    asked = read_manifest(archive).golden.to_json()
    with kube.forwarded("service/digits", 80) as address:

        def ask(request: Any) -> Any:
            answer = requests.post(f"http://{address}/predict/digits", json=request, timeout=30)
            assert answer.headers["x-model-digest"] == champion.digest
            return answer.json()

        assert asked
        assert GoldenSet.from_json(asked).check(ask) == []
