"""The standalone overlay on a cluster: it comes up, keeps its doors, and a model put through it answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from adapters.errors import UserError
from adapters.object_store import ObjectStore, open_store
from components.archive.__main__ import main as archive
from components.evaluate.__main__ import main as evaluate
from components.prep_data.__main__ import main as prepare
from components.train.__main__ import main as train
from serving import golden

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


def test_digits_from_raw_data_to_an_answering_endpoint(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube, at = (
        installed.kube,
        {name: str(tmp_path / name) for name in ("data", "model", "judged", "archived")},
    )
    with steps.environment(kube) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert prepare(["--workload", "digits", "--output", at["data"]]) == 0
        assert train(["--workload", "digits", "--data", at["data"], "--output", at["model"]]) == 0
        assert (
            evaluate(
                [
                    "--workload",
                    "digits",
                    "--data",
                    at["data"],
                    "--model",
                    at["model"],
                    "--output",
                    at["judged"],
                ]
            )
            == 0
        )
        assert (
            archive(["--model", at["model"], "--evaluation", at["judged"], "--output", at["archived"]]) == 0
        )

    code, log = steps.deploy(kube, Path(at["archived"]))
    assert code == 0, log
    digest = json.loads(Path(at["archived"], "archived.json").read_text(encoding="utf-8"))["digest"]
    requests_of_it = json.loads(Path(at["judged"], "golden.json").read_text(encoding="utf-8"))
    with kube.forwarded("service/digits", 80) as address:

        def ask(request: Any) -> Any:
            answer = requests.post(f"http://{address}/predict/digits", json=request, timeout=30)
            assert answer.headers["x-model-digest"] == digest
            return answer.json()

        assert requests_of_it
        assert golden.check(requests_of_it, ask) == []
