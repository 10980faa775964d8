"""The Role of deploy-serving grants exactly the permissions that its requests use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import open_store
from continuous_training.artifacts.archived_model import ARCHIVED, ArchivedModel
from continuous_training.artifacts.evaluation import TrackingRun
from tests.continuous_training.serving.toy_models import make_archive

from . import steps
from .audit import permissions_of_rules, requested_permissions
from .conftest import Installation
from .rendering import MANIFESTS, Object, of_kind

pytestmark = pytest.mark.cluster

MODEL = "roles"
Archive = Callable[[str, float], Path]


@pytest.fixture
def archive(installed: Installation, tmp_path: Path) -> Archive:
    """Store and register a version of a toy model like the step archive. Return its output folder."""

    def create(run: str, scale: float) -> Path:
        folder = tmp_path / run
        folder.mkdir()
        archive = make_archive(folder, name=MODEL, scale=scale)
        key = f"archives/{MODEL}/{archive.digest}.mar"
        with steps.environment(installed.kube) as environment:
            access = (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
            open_store(environment["CT_STORE"], access).put_if_absent(key, archive.path)
            registry = Registry(environment["MLFLOW_TRACKING_URI"])
            tags = {"archive_digest": archive.digest, "archive_key": key, "pipeline_run": run, "recipe": run}
            version = registry.register(MODEL, registry.run(MODEL, run), tags)
            champion = registry.champion(MODEL)
        compared_with = champion.version if champion else None
        archived = ArchivedModel(
            workload=MODEL,
            version=version.version,
            digest=archive.digest,
            key=key,
            run=run,
            input_digest=run,
            evaluated_champion=compared_with,
            reasons=("it is better",),
            metrics={},
            registry=TrackingRun("", ""),
        )
        (folder / ARCHIVED).write_text(json.dumps(archived.to_json()), encoding="utf-8")
        return folder

    return create


def test_the_rules_match_the_requests_of_deploy_serving(installed: Installation, archive: Archive) -> None:
    kube = installed.kube
    code, log = steps.deploy(kube, archive("first", 2.0))
    assert code == 0, log
    # With a missing image, the rollout reads pod log and events, and restores the previous version.
    code, log = steps.deploy(kube, archive("broken", 3.0), CT_SERVING_IMAGE="localhost:1/nothing:1.0")
    assert code == 4, log
    code, log = steps.deploy(kube, archive("second", 4.0))
    assert code == 0, log

    used, denied = requested_permissions(kube.namespace, "continuous-training")
    granted = permissions_of_rules(role("base/role.yaml")["rules"])
    assert denied == []
    assert {"unused": sorted(granted - used), "not granted": sorted(used - granted)} == {
        "unused": [],
        "not granted": [],
    }


def role(path: str) -> Object:
    """Return the first Role of a file."""
    documents = list(yaml.safe_load_all((MANIFESTS / path).read_text(encoding="utf-8")))
    return of_kind(documents, "Role")[0]
