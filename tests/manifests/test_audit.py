"""Reading of the audit log, and of the rules of a Role."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from . import audit
from .audit import Permission, permissions_of_rules, requested_permissions


def event(verb: str, resource: str, code: int = 200, namespace: str = "ct", **fields: Any) -> str:
    reference = {"resource": resource, "namespace": namespace, "apiGroup": fields.pop("group", ""), **fields}
    user = {"username": "system:serviceaccount:ct:continuous-training"}
    return json.dumps({"user": user, "verb": verb, "objectRef": reference, "responseStatus": {"code": code}})


def test_an_apply_of_a_new_object_uses_two_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "audit.log"
    monkeypatch.setattr(audit, "AUDIT_LOG", log)
    lines = [
        event("patch", "deployments", 201, group="apps"),
        event("get", "pods", subresource="log"),
        event("list", "events", 403),
        event("delete", "services", namespace="another"),
        event("delete", "secrets").replace("continuous-training", "somebody-else"),
    ]
    log.write_text("\n".join(lines), encoding="utf-8")
    used, denied = requested_permissions("ct", "continuous-training")
    assert used == {
        Permission("apps", "deployments", "patch"),
        Permission("apps", "deployments", "create"),
        Permission("", "pods/log", "get"),
    }
    assert len(denied) == 1
    assert "events" in denied[0]


def test_rules_are_split_into_permissions() -> None:
    rules = [{"apiGroups": ["", "apps"], "resources": ["pods"], "verbs": ["get", "list"]}]
    assert len(permissions_of_rules(rules)) == 4
    assert Permission("apps", "pods", "list") in permissions_of_rules(rules)
