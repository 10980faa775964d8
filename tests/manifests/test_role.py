"""The Role of deploy-serving: what its calls need, and nothing that no call needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import open_store
from continuous_training.artifacts.archived_model import ARCHIVED, ArchivedModel
from tests.continuous_training.serving.toy_models import make_archive

from . import steps
from .audit import asked, rights
from .conftest import Installed
from .rendering import MANIFESTS, Object, of_kind

pytestmark = pytest.mark.cluster

MODEL = "roles"
Archive = Callable[[str, float], Path]


@pytest.fixture
def archive(installed: Installed, tmp_path: Path) -> Archive:
    """Store and register a version of a toy model as the archive step does; returns what that hands on."""

    def made(run: str, scale: float) -> Path:
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
        judged_against = champion.version if champion else None
        done = ArchivedModel(
            MODEL, version.version, archive.digest, key, run, run, judged_against, ("it is better",), {}, {}
        )
        (folder / ARCHIVED).write_text(json.dumps(done.to_json()), encoding="utf-8")
        return folder

    return made


def test_its_rules_are_the_calls_that_deploy_serving_makes(installed: Installed, archive: Archive) -> None:
    kube = installed.kube
    code, log = steps.deploy(kube, archive("first", 2.0))
    assert code == 0, log
    # An image that is not there: the pod's log and the events are read, the former version put back.
    code, log = steps.deploy(kube, archive("broken", 3.0), CT_SERVING_IMAGE="localhost:1/nothing:1.0")
    assert code == 4, log
    code, log = steps.deploy(kube, archive("second", 4.0))
    assert code == 0, log

    taken, refused = asked(kube.namespace, "continuous-training")
    allowed = rights(role("base/role.yaml")["rules"])
    assert refused == []
    assert {"never called": sorted(allowed - taken), "not allowed": sorted(taken - allowed)} == {
        "never called": [],
        "not allowed": [],
    }


def role(path: str) -> Object:
    """Return the first Role of a file."""
    documents = list(yaml.safe_load_all((MANIFESTS / path).read_text(encoding="utf-8")))
    return of_kind(documents, "Role")[0]
