"""Archives by name in an object store, and the small files there that say what an alias means.

`archives/NAME/DIGEST.mar` holds an archive, and `aliases/NAME/ALIAS.json` names one of them by its digest.
deploy-serving writes an alias once the version has proven itself, whole and last of all; the registry
stays the truth about versions, and this is what a server needs of it.
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
    """What an alias of a model stands for: an archive's digest, since when (UTC), and by which run."""

    name: str
    digest: str
    since: str = ""
    run: str = ""

    @property
    def key(self) -> str:
        """Where the archive is in the store."""
        return f"archives/{self.name}/{self.digest}.mar"


def point(store: ObjectStore, name: str, digest: str, run: str = "", alias: str = CHAMPION) -> None:
    """Let an alias name this digest; doing it again changes nothing."""
    former = _read(store, name, alias)
    if former is not None and former.digest == digest:
        return
    since = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps(asdict(Pointer(name, digest, since, run)), indent=2, sort_keys=True)
    store.write(_key(name, alias), text.encode())


def forget(store: ObjectStore, name: str, alias: str) -> None:
    """Let an alias name nothing."""
    store.delete(_key(name, alias))


def find(store: ObjectStore, reference: str) -> Pointer:
    """Find what `NAME`, `NAME@ALIAS` or `NAME@DIGEST` (from 12 digits on) stands for; NAME is its champion.

    UserError says what there is when there is no such one.
    """
    name, _, wanted = reference.partition("@")
    wanted = wanted or CHAMPION
    if not _NAME.fullmatch(name) or not _NAME.fullmatch(wanted):
        raise UserError(f"{reference!r} is no model: write NAME, NAME@ALIAS or NAME@DIGEST")
    if (pointer := _read(store, name, wanted)) is not None:
        return pointer
    digests = [key.rpartition("/")[2].removesuffix(".mar") for key in store.keys(f"archives/{name}")]
    matching = [digest for digest in digests if digest.startswith(wanted)]
    if _DIGEST.fullmatch(wanted) and len(matching) == 1:
        return Pointer(name, matching[0])
    aliases = [key.rpartition("/")[2].removesuffix(".json") for key in store.keys(f"aliases/{name}")]
    known = ", ".join([*aliases, *(digest[:12] for digest in digests)]) or "nothing"
    raise UserError(f"the store has no {name}@{wanted}; of {name} it has: {known}")


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
        raise UserError(f"{_key(name, alias)} in the store cannot be read: {error}") from error


def _key(name: str, alias: str) -> str:
    return f"aliases/{name}/{alias}.json"
