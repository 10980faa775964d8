"""The name of a package's image."""

from __future__ import annotations

import re

from continuous_training.core.errors import UserError

_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
_PART = r"[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?P<repository>({_HOST}/)?{_PART}(/{_PART})*)(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?"
)


def image_name(name: str, version: str) -> str:
    """Return an image name with its tag; without a tag, with the tag `version`.

    Raises UserError for a name that Docker rejects, and for a name with a digest.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UserError(
            f"{name!r} is not the name of an image: pass --tag [HOST[:PORT]/]PATH[:TAG] without http://, "
            "and a path in lower case"
        )
    return name if match["tag"] else f"{name}:{version}"
