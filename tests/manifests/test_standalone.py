"""The standalone overlay on a cluster: access control, and a pipeline from raw data to a served model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.artifacts.archive_writer import read_manifest
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.errors import UserError

from . import steps
from .conftest import Installation

pytestmark = pytest.mark.cluster


def test_the_registry_accepts_only_its_own_host_names(installed: Installation) -> None:
    namespace = installed.kube.namespace
    with installed.kube.port_forward("service/registry", 5000) as address:

        def status(host: str) -> int:
            url = f"http://{address}/api/2.0/mlflow/experiments/get"
            response = requests.get(url, {"experiment_id": "0"}, headers={"host": host}, timeout=30)
            return response.status_code

        names = [
            "registry:5000",
            f"registry.{namespace}.svc:5000",
            f"registry.{namespace}.svc.cluster.local:5000",
        ]
        assert [status(name) for name in names] == [200, 200, 200]
        assert [status(name) for name in ("evil.example", "registry.evil.example:5000")] == [403, 403]


def test_each_access_key_has_only_the_required_permissions(installed: Installation) -> None:
    with installed.kube.port_forward("service/store", 9000) as address:

        def open_as(secret: str, bucket: str = "continuous-training") -> ObjectStore:
            data = steps.secret_data(installed.kube, secret)
            access = (data["AWS_ACCESS_KEY_ID"], data["AWS_SECRET_ACCESS_KEY"])
            return open_store(f"s3://{bucket}?endpoint={address}&secure=false", access)

        for key in ("aliases/a.json", "archives/a.mar", "records/a.json"):
            open_as("continuous-training").write(key, b"{}")
        server = open_as("model-server")
        assert server.read("aliases/a.json") == server.read("archives/a.mar") == b"{}"
        denied = [
            lambda: server.read("records/a.json"),
            lambda: server.write("aliases/a.json", b"another"),
            lambda: server.delete("archives/a.mar"),
            lambda: open_as("registry").read("aliases/a.json"),
            lambda: open_as("continuous-training", "registry").read("any"),
        ]
        for operation in denied:
            with pytest.raises(UserError, match="AccessDenied"):
                operation()


def test_digits_from_raw_data_to_a_served_endpoint(installed: Installation, tmp_path: Path) -> None:
    kube = installed.kube
    code, log = steps.run_all_steps(kube, "digits")
    assert code == 0, log
    with steps.environment(kube) as environment:
        access = (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        champion = Registry(environment["MLFLOW_TRACKING_URI"]).champion("digits")
        assert champion is not None
        archive = open_store(environment["CT_STORE"], access).fetch(champion.archive, tmp_path)
    golden = read_manifest(archive).golden.to_json()
    with kube.port_forward("service/digits", 80) as address:

        def predict(request: Any) -> Any:
            response = requests.post(f"http://{address}/predict/digits", json=request, timeout=30)
            assert response.headers["x-model-digest"] == champion.digest
            return response.json()

        assert golden
        assert GoldenSet.from_json(golden).check(predict) == []
