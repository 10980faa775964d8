"""Pushes to a repository on GitHub.

https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
"""

from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase

from continuous_training.core.json_object import JsonObject
from continuous_training.serving.errors import RequestError
from continuous_training.serving.json_codec import decode
from continuous_training.trigger.events.event_source import EventSource
from continuous_training.trigger.events.run_event import Header, RunEvent, one_line


def read_github_event(source: EventSource, header: Header, body: bytes) -> RunEvent | None:
    """Return the event of a push, or None for another event or a push that the filters do not select.

    The key is the digest of the body, because the signature does not cover the id of the delivery.
    """
    if header(b"x-github-event") != "push":
        return None
    push = JsonObject(decode(body), "the push", RequestError)
    repository, ref = push.nested("repository").text("full_name"), push.text("ref")
    if push.boolean("deleted", False) or not _is_selected(source, push, repository, ref):
        return None
    pusher = one_line(push.nested("pusher").text("name"), 60)
    reason = one_line(f"push of {push.text('after')[:12]} to {ref} of {repository}")
    return RunEvent(f"github:{pusher}", reason, hashlib.sha256(body).hexdigest())


def _is_selected(source: EventSource, push: JsonObject, repository: str, ref: str) -> bool:
    repositories, refs, patterns = (source.allowed(name) for name in ("repository", "ref", "paths"))
    if (repositories and repository not in repositories) or (refs and ref not in refs):
        return False
    return not patterns or any(
        fnmatchcase(path, pattern) for path in _changed_paths(push) for pattern in patterns
    )


def _changed_paths(push: JsonObject) -> set[str]:
    commits = push.nested_list("commits", [])
    kinds = ("added", "modified", "removed")
    return {path for commit in commits for kind in kinds for path in commit.text_list(kind, [])}
