"""The option --cluster with a simulated API server; tests/manifests uses a real one and forwards ports."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.adapters.object_store import open_store
from pipelines import prune, rollback, status
from pipelines.transfer import __main__ as transfer
from tests.compatibility import kubernetes_api
from tests.compatibility.kubernetes_api import NAMESPACE, Api
from tests.s3 import ACCESS

from . import champions
from .champions import NAME, ChampionState, run_command, run_json

CLUSTER = ("--namespace", NAMESPACE, "--cluster")


def _object(kind: str, data: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": "continuous-training", "resourceVersion": "1"}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": data}


def _secret() -> dict[str, Any]:
    keys = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ACCESS, strict=True))
    return _object("Secret", {name: base64.b64encode(key.encode()).decode() for name, key in keys.items()})


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """An API server without objects, and the environment of a laptop with a kubeconfig."""
    with kubernetes_api.serve(Api(tmp_path)) as api:
        monkeypatch.setenv("KUBECONFIG", str(kubernetes_api.kubeconfig(api, tmp_path / "kubeconfig")))
        monkeypatch.setenv("CT_STATE", str(tmp_path / "state"))
        yield api


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChampionState]:
    with champions.copy_state(tmp_path_factory, "cluster-option", run_server=True) as opened:
        yield opened


@pytest.fixture
def settings(api: Api, state: ChampionState, bucket: Any, tmp_path: Path) -> dict[str, str]:
    """The settings of the steps: a registry and a store outside the cluster, with three versions."""
    source, store = open_store(str(state.folder / "store")), open_store(bucket.uri, ACCESS)
    for key in source.keys(""):
        store.put_if_absent(key, source.fetch(key, tmp_path))
    return {"MLFLOW_TRACKING_URI": state.registry.uri, "CT_STORE": bucket.uri, "CT_TARGET": "kubernetes"}


def test_settings_and_keys_are_those_of_the_cluster(
    settings: dict[str, str],
    api: Api,
    state: ChampionState,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-another-cluster")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-another-cluster")
    api.load([_object("ConfigMap", settings), _secret()])
    (row,) = run_json(status.main, capsys, "--workload", NAME, *CLUSTER)["workloads"]
    assert row["champion"]["version"] == state.aliases[CHAMPION] == "3"
    assert row["champion"]["archive"]["intact"] is True
    command = f"python -m pipelines.rollback --workload {NAME} --to 3 --namespace {NAMESPACE} --cluster"
    assert (row["agree"], row["mend"]) == (False, command)


def test_a_transfer_to_a_cluster_uses_its_settings_and_keys(
    settings: dict[str, str],
    api: Api,
    state: ChampionState,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The registry of the cluster has the version of the state directory already."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-another-cluster")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-another-cluster")
    api.load([_object("ConfigMap", settings), _secret()])
    target = f"cluster:?namespace={NAMESPACE}"
    sides = ("--from", str(state.folder), "--to", target, "--dry-run")
    result = run_json(transfer.main, capsys, "--workload", NAME, *sides)
    assert (result["verdict"], result["from"]["version"]) == ("unchanged", "3")
    assert result["to"] == {"environment": target, "version": "3", "champion_before": "3"}
    assert api.writes == []


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        (None, 2, "pass --namespace with the namespace of the steps"),
        ({"CT_STORE": ""}, 2, "lacks CT_STORE"),
        ({"CT_TARGET": "local"}, 2, "CT_TARGET is local"),
        ({"MLFLOW_TRACKING_URI": "http://registry:5000"}, 2, "no Service registry with port 5000"),
        ({"CT_STORE": "s3://b?endpoint=store.other.svc:9000"}, 2, "namespace other has no Service store"),
    ],
)
def test_incomplete_settings(
    changes: dict[str, str] | None,
    code: int,
    message: str,
    settings: dict[str, str],
    api: Api,
    capsys: pytest.CaptureFixture[str],
) -> None:
    api.load([] if changes is None else [_object("ConfigMap", {**settings, **changes})])
    _, error = run_command(status.main, capsys, *CLUSTER, expect=code)
    assert message in error


def test_a_service_without_a_ready_pod(
    settings: dict[str, str], api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    service = _object("Service", {}) | {
        "metadata": {"name": "registry", "resourceVersion": "1"},
        "spec": {"selector": {"app": "registry"}, "ports": [{"port": 5000}]},
    }
    config_map = _object("ConfigMap", settings | {"MLFLOW_TRACKING_URI": "http://registry:5000"})
    api.load([config_map, service])
    _, error = run_command(status.main, capsys, *CLUSTER, expect=75)
    assert "has no ready pod" in error


def test_the_namespace_needs_a_cluster(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    _, error = run_command(status.main, capsys, "--namespace", NAMESPACE, expect=2)
    assert "pass --cluster" in error


@pytest.mark.parametrize("holder", ["", "another-process"])
def test_prune_holds_the_lease_of_the_workload(
    holder: str,
    settings: dict[str, str],
    api: Api,
    state: ChampionState,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("continuous_training.operations.prune.LOCK_TIMEOUT", 0.1)
    lease = _object("Lease", {}) | {"metadata": {"name": NAME, "resourceVersion": "1"}}
    lease["spec"] = {"holderIdentity": holder, "leaseDurationSeconds": 30}
    api.load([_object("ConfigMap", settings), _secret(), lease])
    command = (prune.main, capsys, "--workload", NAME, "--keep", "1")
    if holder:
        _, error = run_command(*command, *CLUSTER, expect=75)
        assert "another-process holds its Lease" in error
    else:
        assert run_json(*command, *CLUSTER)["archives"] == 1
        assert {write["object"] for write in api.writes} == {f"leases/{NAME}"}
    store = open_store(settings["CT_STORE"], ACCESS)
    removed = store.size(f"archives/{NAME}/{state.digests[0]}.mar") is None
    assert removed is not bool(holder)


def test_new_pods_never_get_an_address_of_this_machine(
    settings: dict[str, str], api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a ConfigMap and running pods, the store of the environment is the only one that is known."""
    for name, value in {**settings, "CT_SERVING_IMAGE": "registry.example/serving:1.0"}.items():
        monkeypatch.setenv(name, value)
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ACCESS, strict=True):
        monkeypatch.setenv(name, value)
    _, error = run_command(rollback.main, capsys, "--workload", NAME, expect=2)
    assert "it is an address of this machine" in error
    assert api.writes == []
