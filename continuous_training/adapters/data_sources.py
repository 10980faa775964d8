"""Data files from where they are: a folder, a file, a web server, a bucket.

| source | what is taken |
|---|---|
| a folder | the first of the names that stands in it |
| a file | that file, whatever its name |
| https://HOST/FOLDER, s3://BUCKET/PREFIX?endpoint=HOST:PORT | the first of the names below it |
| the same, ending as one of the names does | that very file |

Remote files are kept in a cache (CT_CACHE; by default `cache` in the state folder) and fetched again only
when they have changed. S3 keys come from the usual AWS environment or files, passwords of web servers from
~/.netrc; neither stands in an address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit, urlunsplit

from continuous_training.adapters.download_cache import cached
from continuous_training.adapters.object_store import S3Store
from continuous_training.adapters.remote_files import Absent, HttpFile, Remote, S3File
from continuous_training.core.errors import UserError
from continuous_training.core.messages import report

Tell = Callable[[str], None]


@dataclass(frozen=True)
class _Surroundings:
    cache: Path
    tell: Tell


_ALONE = _Surroundings(Path(".state/cache"), report)
"""Where nobody has said anything: outside a step."""

_SURROUNDINGS = ContextVar("_SURROUNDINGS", default=_ALONE)


@contextmanager
def fetching(cache: Path, tell: Tell) -> Iterator[None]:
    """Let every `fetch` in the block keep its files in `cache` and say there what it does."""
    token = _SURROUNDINGS.set(_Surroundings(cache, tell))
    try:
        yield
    finally:
        _SURROUNDINGS.reset(token)


def fetch(
    source: str,
    names: Sequence[str],
    sha256: Mapping[str, str] | None = None,
    progress: Tell | None = None,
) -> Path:
    """Return a local path to the first of `names` that exists at `source`; see the module's table.

    `sha256` maps a name to the hex digest that a remote file of that name must have: give it only for an
    address whose content never changes. Local files are taken as they are. Raises UserError (nothing there,
    refused, wrong content) or TransientError (the same command may succeed later).
    """
    surroundings = _SURROUNDINGS.get()
    tell = progress or surroundings.tell
    if "://" not in source:
        return _local(Path(source).expanduser(), names)
    problems: dict[str, list[str]] = {}
    for name, address, remote in _candidates(source, names):
        # The whole address names the copy: the same path on another server is another file.
        folder = surroundings.cache / hashlib.sha256(address.encode()).hexdigest()[:16]
        try:
            return cached(remote, folder, name, (sha256 or {}).get(name, ""), tell)
        except Absent as absent:
            problems.setdefault(str(absent), []).append(remote.place)
    found = "; ".join(f"{', '.join(places)}: {problem}" for problem, places in problems.items())
    raise UserError(f"nothing to read: {found}. Look at the run parameter source, and who may read there")


def _local(path: Path, names: Sequence[str]) -> Path:
    try:
        if path.is_file():
            return path
        found = next((path / name for name in names if (path / name).is_file()), None)
        if found is None:
            what = "holds none of" if path.is_dir() else "is neither a file nor a folder that holds one of"
            raise UserError(f"source {path} {what} {', '.join(names)}")
        with found.open("rb"):
            return found
    except PermissionError as error:
        raise UserError(f"source {error.filename}: this user may not read it") from None


def _candidates(source: str, names: Sequence[str]) -> Iterator[tuple[str, str, Remote]]:
    """Yield the names to look for, each with its address and its remote file."""
    parts = urlsplit(source)
    if parts.scheme not in {"https", "http", "s3"}:
        raise UserError(
            f"source {source!r}: give a folder, a file, https://HOST/PATH or s3://BUCKET/PREFIX?endpoint=HOST:PORT"
        )
    path = PurePosixPath(parts.path or "/")
    endings = {PurePosixPath(name).suffix for name in names} - {""}
    if not parts.path.endswith("/") and (path.name in names or path.suffix in endings):
        paths = [(path.name, path)]
    else:
        paths = [(name, path / quote(name)) for name in names]
    for name, one in paths:
        address = urlunsplit(parts._replace(path=str(one)))
        if parts.scheme == "s3":
            store = S3Store(urlunsplit(parts._replace(path=str(one.parent))), None)
            yield name, address, S3File(store, name)
        else:
            yield name, address, HttpFile(address)
