"""CloudEvents 1.0 over HTTP, in binary and structured mode.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

from __future__ import annotations

from urllib.parse import unquote

from continuous_training.core.json_object import JsonObject
from continuous_training.serving.errors import RequestError, UnsupportedMediaTypeError
from continuous_training.serving.json_codec import decode
from continuous_training.trigger.events.event_source import EventSource
from continuous_training.trigger.events.run_event import Header, RunEvent, one_line

_STRUCTURED = "application/cloudevents+json"
_REQUIRED = ("specversion", "id", "source", "type")


def read_cloud_event(source: EventSource, caller: str, header: Header, body: bytes) -> RunEvent | None:
    """Return the event, or None if its type is not one of `event_types`. Its data is not read."""
    attributes = _attributes(header, body)
    missing = [name for name in _REQUIRED if not attributes.get(name)]
    if missing or attributes["specversion"] != "1.0":
        raise RequestError(
            f"the request is not a CloudEvent 1.0 ({', '.join(missing) or 'another specversion'}): send the "
            f"headers ce-{', ce-'.join(_REQUIRED)}, or a body of the type {_STRUCTURED}"
        )
    types = source.allowed("event_types")
    if types and attributes["type"] not in types:
        return None
    subject = f", {attributes['subject']}" if attributes.get("subject") else ""
    reason = one_line(f"event {attributes['type']} from {attributes['source']}{subject}")
    # Source and id together identify an event.
    return RunEvent(caller, reason, f"{attributes['source']}\n{attributes['id']}")


def _attributes(header: Header, body: bytes) -> dict[str, str]:
    content_type = (header(b"content-type") or "").partition(";")[0].strip().lower()
    if content_type == _STRUCTURED:
        document = JsonObject(decode(body), "the event", RequestError)
        return {name: document.text(name, "") for name in (*_REQUIRED, "subject")}
    if content_type.startswith("application/cloudevents"):
        raise UnsupportedMediaTypeError(f"send one event as {_STRUCTURED}, not {content_type}")
    values = {name: header(f"ce-{name}".encode()) or "" for name in (*_REQUIRED, "subject")}
    return {name: unquote(value) for name, value in values.items()}
