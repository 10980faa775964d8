"""How calls are read from an audit log, and compared with what a Role allows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from . import audit
from .audit import Right, asked, rights


def event(verb: str, resource: str, code: int = 200, namespace: str = "ct", **more: Any) -> str:
    about = {"resource": resource, "namespace": namespace, "apiGroup": more.pop("group", ""), **more}
    user = {"username": "system:serviceaccount:ct:continuous-training"}
    return json.dumps({"user": user, "verb": verb, "objectRef": about, "responseStatus": {"code": code}})


def test_an_apply_that_made_something_took_two_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "audit.log"
    monkeypatch.setattr(audit, "LOG", log)
    lines = [
        event("patch", "deployments", 201, group="apps"),
        event("get", "pods", subresource="log"),
        event("list", "events", 403),
        event("delete", "services", namespace="another"),
        event("delete", "secrets").replace("continuous-training", "somebody-else"),
    ]
    log.write_text("\n".join(lines), encoding="utf-8")
    taken, refused = asked("ct", "continuous-training")
    assert taken == {
        Right("apps", "deployments", "patch"),
        Right("apps", "deployments", "create"),
        Right("", "pods/log", "get"),
    }
    assert len(refused) == 1
    assert "events" in refused[0]


def test_rules_are_taken_apart_into_rights() -> None:
    rules = [{"apiGroups": ["", "apps"], "resources": ["pods"], "verbs": ["get", "list"]}]
    assert len(rights(rules)) == 4
    assert Right("apps", "pods", "list") in rights(rules)
