"""Status and rollback of an endpoint on a cluster."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from continuous_training.adapters.model_registry import CHAMPION, PREVIOUS, Registry
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.core.settings import Settings
from continuous_training.operations.read_serving_state import read_serving_state
from continuous_training.rollout.alias_mirror import mirror_aliases
from pipelines import rollback
from tests.continuous_training.serving.toy_models import make_archive
from tests.s3 import ACCESS

from .cluster_namespace import ClusterNamespace


def promote(namespace: ClusterNamespace, registry: Registry, archive: Archive, run: str) -> None:
    """Register and deploy an archive, as the steps archive and deploy-serving do."""
    namespace.store_archive(archive)
    tags = {
        "archive_digest": archive.digest,
        "archive_key": f"archives/{archive.name}/{archive.digest}.mar",
        "pipeline_run": run,
        "recipe": run,
        "data_fingerprint": "none",
        "code": "none",
        "model_digest": archive.digest,
    }
    version = registry.register(archive.name, registry.run(archive.name, run), tags)
    champion = registry.champion(archive.name)
    expected = champion.version if champion else None
    namespace.deploy(archive, lambda: registry.promote(version, expected, "it is better", run))
    mirror_aliases(registry, namespace.store, archive.name, run)


def test_rollback_serves_the_previous_version(
    shared_namespace: ClusterNamespace,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    namespace, name = shared_namespace, "went-back"
    first, second = make_archive(tmp_path, name=name), make_archive(tmp_path, name=name, scale=3)
    promote(namespace, registry, first, "one")
    promote(namespace, registry, second, "two")
    for key, value in {
        "CT_TARGET": "kubernetes",
        "CT_STATE": str(tmp_path / "state"),
        "CT_STORE": namespace.settings.store,
        "MLFLOW_TRACKING_URI": registry.uri,
        "CT_SERVING_NAMESPACE": namespace.name,
        "CT_SERVING_IMAGE": namespace.settings.image,
        "CT_SERVING_REPLICAS": "1",
        "CT_SERVING_CPU": "20m",
        "CT_SERVING_MEMORY": "256Mi",
        "AWS_ACCESS_KEY_ID": ACCESS[0],
        "AWS_SECRET_ACCESS_KEY": ACCESS[1],
    }.items():
        monkeypatch.setenv(key, value)
    capsys.readouterr()
    assert rollback.main(["--workload", name, "--why", "odd answers", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["verdict"], result["to"]["digest"]) == ("rolled back", first.digest)
    assert result["endpoint"] == f"http://{name}.{namespace.name}.svc/predict/{name}"
    assert namespace.serves(first)
    aliases = registry.aliases(name)
    assert (aliases[CHAMPION], aliases.get(PREVIOUS)) == ("1", None)
    assert rollback.main(["--workload", name, "--to", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "nothing to do"
    serving = read_serving_state(Settings.from_environment(os.environ))
    assert serving.digest(name) == first.digest
    assert not serving.on_trial(name)
    assert serving.url(name) == result["endpoint"]
