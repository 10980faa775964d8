"""The Role of deploy-serving and notify grants exactly the permissions that its requests use."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from . import steps
from .audit import permissions_of_rules, requested_permissions
from .conftest import Installation
from .rendering import MANIFESTS, Object, of_kind
from .toy_versions import store_version

pytestmark = pytest.mark.cluster

MODEL = "roles"


def test_the_rules_match_the_requests_of_deploy_serving(installed: Installation, tmp_path: Path) -> None:
    kube = installed.kube

    def archive(run: str, scale: float) -> Path:
        return store_version(kube, tmp_path, MODEL, run, scale)

    code, log = steps.deploy(kube, archive("first", 2.0))
    assert code == 0, log
    # With a missing image, the rollout reads pod log and events, and restores the previous version.
    code, log = steps.deploy(kube, archive("broken", 3.0), CT_SERVING_IMAGE="localhost:1/nothing:1.0")
    assert code == 4, log
    code, log = steps.deploy(kube, archive("second", 4.0))
    assert code == 0, log

    # Notify compares the endpoint with the registry.
    code, log = steps.notify(kube, MODEL)
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
