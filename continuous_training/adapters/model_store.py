"""Model archives in an object store, and their aliases.

`archives/NAME/DIGEST.mar` is an archive, and `aliases/NAME/ALIAS.json` contains the digest of the archive
with that alias. deploy-serving writes an alias after the version was verified. The registry is the source of
truth; servers need only these files.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import JsonObject

CHAMPION = "champion"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{12,64}")
_REPAIR = "the next run of the model writes it again"


@dataclass(frozen=True)
class Pointer:
    """The target of an alias: the digest of an archive, the time of the move (UTC), and the run."""

    name: str
    digest: str
    since: str = ""
    run: str = ""

    @property
    def key(self) -> str:
        """The key of the archive in the store."""
        return f"archives/{self.name}/{self.digest}.mar"


def set_alias(store: ObjectStore, name: str, digest: str, run: str = "", alias: str = CHAMPION) -> None:
    """Set an alias to a digest. No effect if it has that digest already. A damaged file is replaced."""
    with suppress(UserError):
        current = _read(store, name, alias)
        if current is not None and current.digest == digest:
            return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps(asdict(Pointer(name, digest, now, run)), indent=2, sort_keys=True)
    store.write(_key(name, alias), text.encode())


def remove_alias(store: ObjectStore, name: str, alias: str) -> None:
    """Remove an alias."""
    store.delete(_key(name, alias))


def find(store: ObjectStore, reference: str) -> Pointer:
    """Return the archive of `NAME` (its champion), `NAME@ALIAS` or `NAME@DIGEST` (at least 12 digits).

    Raises UserError, with the existing aliases and digests, if there is none.
    """
    name, _, version = reference.partition("@")
    version = version or CHAMPION
    if not _NAME.fullmatch(name) or not _NAME.fullmatch(version):
        raise UserError(f"{reference!r} is not a model: write NAME, NAME@ALIAS or NAME@DIGEST")
    if (pointer := _read(store, name, version)) is not None:
        return pointer
    digests = [key.rpartition("/")[2].removesuffix(".mar") for key in store.keys(f"archives/{name}")]
    matching = [digest for digest in digests if digest.startswith(version)]
    if _DIGEST.fullmatch(version) and len(matching) == 1:
        return Pointer(name, matching[0])
    aliases = [key.rpartition("/")[2].removesuffix(".json") for key in store.keys(f"aliases/{name}")]
    existing = ", ".join([*aliases, *(digest[:12] for digest in digests)]) or "nothing"
    raise UserError(f"the store has no {name}@{version}; of {name} it has: {existing}")


def name_of(reference: str) -> str:
    """Return the name in `NAME[@ALIAS]`."""
    return reference.partition("@")[0]


def damaged_aliases(store: ObjectStore, name: str) -> list[str]:
    """Return the keys of the alias files of a model that cannot be read."""
    damaged = []
    for key in store.keys(f"aliases/{name}"):
        try:
            _read(store, name, key.rpartition("/")[2].removesuffix(".json"))
        except UserError:
            damaged.append(key)
    return damaged


def _read(store: ObjectStore, name: str, alias: str) -> Pointer | None:
    """Return the target of an alias, or None if there is none. Raises UserError for a damaged file."""
    key = _key(name, alias)
    content = store.read(key)
    if content is None:
        return None
    try:
        document = JsonObject.parse(content, key)
        pointer = Pointer(
            document.text("name"),
            document.text("digest"),
            document.text("since", ""),
            document.text("run", ""),
        )
        if pointer.name != name or not _DIGEST.fullmatch(pointer.digest):
            raise UserError(f"it does not name an archive of {name}")
    except UserError as error:
        raise UserError(f"{key} in the store is damaged ({error}); {_REPAIR}") from None
    return pointer


def _key(name: str, alias: str) -> str:
    return f"aliases/{name}/{alias}.json"
