"""What a service account asked of the API server, from the server's own audit log."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .rendering import Object

LOG = Path(os.environ.get("CT_AUDIT_LOG", "~/.cache/local-cluster/log/audit.log")).expanduser()


@dataclass(frozen=True, order=True)
class Right:
    """A verb on a kind of object, as a Role writes it: `resource` may be `pods/log`."""

    group: str
    resource: str
    verb: str


def rights(rules: Iterable[Object]) -> set[Right]:
    """Return what a Role's rules allow."""
    return {
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def asked(namespace: str, account: str) -> tuple[set[Right], list[str]]:
    """Return the rights that the account's calls took, and the calls that were refused, in words."""
    taken, refused = set(), []
    for event in _events(namespace, f"system:serviceaccount:{namespace}:{account}"):
        what, code = event["objectRef"], event.get("responseStatus", {}).get("code", 0)
        resource = "/".join(part for part in (what["resource"], what.get("subresource")) if part)
        right = Right(what.get("apiGroup", ""), resource, event["verb"])
        if code == 403:
            refused.append(f"{right}: {event['responseStatus'].get('message', '')}")
            continue
        taken.add(right)
        # A server-side apply of what is not there yet is allowed by `patch` and `create` together.
        if right.verb == "patch" and code == 201:
            taken.add(Right(right.group, right.resource, "create"))
    return taken, refused


def _events(namespace: str, user: str) -> Iterator[Object]:
    if not LOG.is_file():
        pytest.skip(f"the API server's audit log is not at {LOG}: CT_AUDIT_LOG says where")
    # The log is turned over at some size: what came before may have gone into the file that was put away.
    for path in sorted(LOG.parent.glob(f"{LOG.stem}*{LOG.suffix}"), key=lambda found: found.stat().st_mtime):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                # The log of a whole cluster is long, and reading a line as JSON takes long.
                if user not in line:
                    continue
                event = json.loads(line)
                if (
                    event["user"]["username"] == user
                    and event.get("objectRef", {}).get("namespace") == namespace
                ):
                    yield event
