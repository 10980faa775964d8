"""Webhooks of MLflow's model registry: https://mlflow.org/docs/latest/ml/webhooks/."""

from __future__ import annotations

import hashlib

from continuous_training.core.json_object import JsonObject
from continuous_training.serving.errors import RequestError
from continuous_training.serving.json_codec import decode
from continuous_training.trigger.events.event_source import EventSource
from continuous_training.trigger.events.run_event import Header, RunEvent, one_line


def read_mlflow_event(source: EventSource, header: Header, body: bytes) -> RunEvent | None:
    """Return the event, or None if its type, such as `registered_model.created`, is not selected."""
    document = JsonObject(decode(body), "the webhook", RequestError)
    kind = f"{document.text('entity')}.{document.text('action')}"
    types = source.allowed("event_types")
    if types and kind not in types:
        return None
    name = document.nested("data").text("name", "")
    delivery = header(b"x-mlflow-delivery-id") or hashlib.sha256(body).hexdigest()
    return RunEvent("mlflow", one_line(f"{kind} of the model {name}"), delivery)
