"""Model archives in an object store, and their aliases.

`archives/NAME/DIGEST.mar` is an archive, and `aliases/NAME/ALIAS.json` contains the digest of the archive
with that alias. deploy-serving writes an alias after the version was verified. The registry is the source of
truth; servers need only these files.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.errors import UserError

CHAMPION = "champion"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{12,64}")


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
    """Set an alias to a digest. No effect if it has that digest already."""
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


def _read(store: ObjectStore, name: str, alias: str) -> Pointer | None:
    content = store.read(_key(name, alias))
    if content is None:
        return None
    try:
        return Pointer(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise UserError(f"{_key(name, alias)} in the store is damaged: {error}") from error


def _key(name: str, alias: str) -> str:
    return f"aliases/{name}/{alias}.json"
