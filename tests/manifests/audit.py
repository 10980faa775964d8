"""The API requests of a service account, read from the audit log of the API server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .rendering import Object

AUDIT_LOG = Path(os.environ.get("CT_AUDIT_LOG", "~/.cache/local-cluster/log/audit.log")).expanduser()


@dataclass(frozen=True, order=True)
class Permission:
    """A verb on a resource, as in a Role. `resource` can contain a subresource: `pods/log`."""

    group: str
    resource: str
    verb: str


def permissions_of_rules(rules: Iterable[Object]) -> set[Permission]:
    """Return the permissions that the rules of a Role grant."""
    return {
        Permission(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def requested_permissions(namespace: str, account: str) -> tuple[set[Permission], list[str]]:
    """Return the permissions that the requests of the account used, and a line for each denied request."""
    used, denied = set(), []
    for event in _events(namespace, f"system:serviceaccount:{namespace}:{account}"):
        reference, code = event["objectRef"], event.get("responseStatus", {}).get("code", 0)
        resource = "/".join(part for part in (reference["resource"], reference.get("subresource")) if part)
        permission = Permission(reference.get("apiGroup", ""), resource, event["verb"])
        if code == 403:
            denied.append(f"{permission}: {event['responseStatus'].get('message', '')}")
            continue
        used.add(permission)
        # A server-side apply of a new object requires `patch` and `create`.
        if permission.verb == "patch" and code == 201:
            used.add(Permission(permission.group, permission.resource, "create"))
    return used, denied


def _events(namespace: str, user: str) -> Iterator[Object]:
    if not AUDIT_LOG.is_file():
        pytest.skip(f"the audit log of the API server is not at {AUDIT_LOG}: set CT_AUDIT_LOG")
    # The log is rotated, so older requests can be in another file.
    for path in sorted(
        AUDIT_LOG.parent.glob(f"{AUDIT_LOG.stem}*{AUDIT_LOG.suffix}"), key=lambda file: file.stat().st_mtime
    ):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                # Parsing every line of the log as JSON would take long.
                if user not in line:
                    continue
                event = json.loads(line)
                if (
                    event["user"]["username"] == user
                    and event.get("objectRef", {}).get("namespace") == namespace
                ):
                    yield event
