"""Looking and going back where the endpoint is on a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from continuous_training.adapters.model_registry import CHAMPION, PREVIOUS, Registry
from continuous_training.artifacts.archive import Archive
from continuous_training.rollout.alias_mirror import mirror_aliases
from pipelines import rollback, status
from tests.continuous_training.serving.toy_models import make_archive
from tests.s3 import ACCESS

from .place import Place


def promote(place: Place, registry: Registry, archive: Archive, run: str) -> None:
    """Do what archive and deploy-serving do, with the registry's part in it."""
    place.keep(archive)
    key = f"archives/{archive.name}/{archive.digest}.mar"
    tags = {"archive_digest": archive.digest, "archive_key": key, "pipeline_run": run, "recipe": run}
    tags |= {"data_fingerprint": "none", "code": "none", "model_digest": archive.digest}
    version = registry.register(archive.name, registry.run(archive.name, run), tags)
    champion = registry.champion(archive.name)
    place.deploy(
        archive, lambda: registry.promote(version, champion and champion.version, "it is better", run)
    )
    mirror_aliases(registry, place.store, archive.name, run)


def test_going_back_on_a_cluster(
    shared: Place,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "went-back"
    one, two = make_archive(tmp_path, name=name), make_archive(tmp_path, name=name, scale=3)
    promote(shared, registry, one, "one")
    promote(shared, registry, two, "two")
    for key, value in {
        "CT_TARGET": "kubernetes",
        "CT_STATE": str(tmp_path / "state"),
        "CT_STORE": shared.settings.store,
        "MLFLOW_TRACKING_URI": registry.uri,
        "CT_SERVING_NAMESPACE": shared.namespace,
        "CT_SERVING_IMAGE": shared.settings.image,
        "CT_SERVING_REPLICAS": "1",
        "CT_SERVING_CPU": "20m",
        "CT_SERVING_MEMORY": "256Mi",
        "AWS_ACCESS_KEY_ID": ACCESS[0],
        "AWS_SECRET_ACCESS_KEY": ACCESS[1],
    }.items():
        monkeypatch.setenv(key, value)
    capsys.readouterr()
    assert rollback.main(["--workload", name, "--why", "odd answers", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["verdict"], done["to"]["digest"]) == ("rolled back", one.digest)
    assert done["endpoint"] == f"http://{name}.{shared.namespace}.svc/predict/{name}"
    assert shared.answers(one)
    aliases = registry.aliases(name)
    assert (aliases[CHAMPION], aliases.get(PREVIOUS)) == ("1", None)
    assert rollback.main(["--workload", name, "--to", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "nothing to do"
    serving = status.look(status.command.settings_of(_Arguments()))
    assert serving.digest(name) == one.digest
    assert not serving.on_trial(name)
    assert serving.url(name) == done["endpoint"]


class _Arguments:
    state = None
