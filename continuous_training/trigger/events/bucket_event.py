"""Notifications of a bucket: Amazon S3 (direct or through EventBridge) and MinIO.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_plus

from continuous_training.core.json_object import JsonObject
from continuous_training.serving.errors import RequestError
from continuous_training.serving.json_codec import decode
from continuous_training.trigger.events.event_source import EventSource
from continuous_training.trigger.events.run_event import Header, RunEvent, one_line


@dataclass(frozen=True)
class CreatedObject:
    """An object that was created in a bucket. `version` differs if the object is written again."""

    bucket: str
    key: str
    version: str


def read_bucket_event(source: EventSource, caller: str, _: Header, body: bytes) -> RunEvent | None:
    """Return the event, or None if no object was created that the filters select."""
    selected = [entry for entry in _created_objects(body) if _is_selected(source, entry)]
    if not selected:
        return None
    first = selected[0]
    more = f" and {len(selected) - 1} more" if len(selected) > 1 else ""
    key = "\n".join(f"{entry.bucket}/{entry.key} {entry.version}" for entry in selected)
    return RunEvent(caller, one_line(f"new object s3://{first.bucket}/{first.key}{more}"), key)


def _created_objects(body: bytes) -> list[CreatedObject]:
    document = JsonObject(decode(body), "the notification", RequestError)
    if "detail" in document:
        is_creation = document.text("detail-type", "") == "Object Created"
        # EventBridge does not encode the key.
        return [_object(document.nested("detail"), decoded=True)] if is_creation else []
    if document.text("Event", "") == "s3:TestEvent":
        return []
    return [
        _object(record.nested("s3"), decoded=False)
        for record in document.nested_list("Records")
        if "ObjectCreated:" in record.text("eventName")
    ]


def _object(document: JsonObject, decoded: bool) -> CreatedObject:
    bucket, entry = document.nested("bucket").text("name"), document.nested("object")
    key = entry.text("key")
    tags = (entry.text(name, "") for name in ("sequencer", "versionId", "eTag", "etag"))
    version = next((tag for tag in tags if tag), "")
    return CreatedObject(bucket, key if decoded else unquote_plus(key), version)


def _is_selected(source: EventSource, entry: CreatedObject) -> bool:
    buckets, prefixes, suffixes = (source.allowed(name) for name in ("bucket", "prefix", "suffix"))
    return (
        (not buckets or entry.bucket in buckets)
        and (not prefixes or entry.key.startswith(prefixes))
        and (not suffixes or entry.key.endswith(suffixes))
    )
