"""A checksum in a JSON object, which covers all of its other fields."""

from __future__ import annotations

from continuous_training.core.digest import digest_of
from continuous_training.core.json_object import Json, JsonObject

_KEY = "checksum"


def with_checksum(content: Json) -> Json:
    """Return the object with the field `checksum`."""
    return {**content, _KEY: digest_of(content)}


def verify_checksum(document: JsonObject, action: str) -> None:
    """Raise the document's error if a field was altered. The documents of earlier versions have no checksum.

    `action` is the action for the user.
    """
    if _KEY not in document:
        return
    content = {name: value for name, value in document.value.items() if name != _KEY}
    try:
        digest = digest_of(content)
    except ValueError:
        # An altered number is infinite, or an altered text is not Unicode.
        digest = ""
    if digest != document.text(_KEY):
        raise document.error(f"{document.document} was altered: its checksum differs; {action}")
