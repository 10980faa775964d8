"""Data files of a folder, a file, a web server or a bucket.

| source | file |
|---|---|
| a folder | the only file in it with one of the names, in upper or lower case |
| a file | this file, with any name |
| https://HOST/FOLDER, s3://BUCKET/PREFIX?endpoint=HOST:PORT | the only file below it with one of the names |
| the same, with the ending of one of the names | this file |

Remote files are cached (CT_CACHE; by default `cache` in the state directory) and downloaded again only after
a change. S3 keys come from the usual AWS environment variables or files, and passwords of web servers from
~/.netrc. An address must not contain them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit, urlunsplit

from continuous_training.adapters.download_cache import cached
from continuous_training.adapters.object_store import S3Store
from continuous_training.adapters.remote_files import FileUnavailable, HttpFile, Remote, S3File
from continuous_training.core.address_policy import OUTSIDE_CLUSTER, AddressPolicy
from continuous_training.core.errors import TransientError, UserError
from continuous_training.core.expected_digests import ExpectedDigests
from continuous_training.core.file_selection import Selection, select_files
from continuous_training.core.progress import Progress


@dataclass(frozen=True)
class Downloader:
    """Downloads data files to `cache`, a folder.

    `on_read` is called with each file that is read from a local folder by its name, and `on_incomplete` with
    the address of each remote file that may have been cut off. `digests` are those of the run, and
    `addresses` decides where the address of a source may lead.
    """

    cache: Path
    progress: Progress
    on_read: Callable[[Path], None] | None = None
    on_incomplete: Callable[[str], None] | None = None
    digests: ExpectedDigests = field(default_factory=ExpectedDigests)
    addresses: AddressPolicy = OUTSIDE_CLUSTER

    def fetch(
        self,
        source: str,
        names: Sequence[str],
        sha256: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Return a local path to the first of `names` that exists at `source`; see the module's table.

        `sha256` maps a name to the hex digest that a remote file of that name must have. Give it only for an
        address whose content never changes. The digests of the run override it, and local files must have
        them, too. `progress` replaces the downloader's. Raises UserError (no such file, access refused, wrong
        content) or TransientError (the same command may succeed later).
        """
        if "://" not in source:
            return self._local(Path(source).expanduser(), names)
        problems: dict[str, list[str]] = {}
        copy: tuple[Remote, Path] | None = None
        for name, address, remote in _candidates(source, names, self.addresses):
            digest = self.digests.of(name) or (sha256 or {}).get(name, "")
            try:
                if copy:
                    _require_absent(remote, copy[0])
                    continue
                copy = remote, self._download(name, address, remote, digest, progress or self.progress)
            except FileUnavailable as error:
                problems.setdefault(str(error), []).append(remote.label)
            if copy and digest:
                break
        if copy:
            return copy[1]
        details = "; ".join(f"{', '.join(labels)}: {problem}" for problem, labels in problems.items())
        raise UserError(
            f"nothing to read: {details}. Check the run parameter source, and the permission to read from "
            "there"
        )

    def fetch_all(
        self, source: str, suffixes: tuple[str, ...], omit: Callable[[Selection], None]
    ) -> list[tuple[str, Path]]:
        """Return the name in the source and the local path of each file that ends with one of the suffixes.

        `source` is an address: of one file, or s3://BUCKET/PREFIX, whose objects are selected as the files of
        a folder are; `omit` gets the selection. Raises UserError and TransientError as `fetch` does.
        """
        parts = urlsplit(source)
        path = PurePosixPath(parts.path)
        if parts.path.lower().endswith(suffixes):
            return [(path.name, self.fetch(source, [path.name]))]
        if parts.scheme != "s3":
            raise UserError(
                f"source {parts.scheme}://{parts.hostname}{parts.path}: give the address of one file that "
                f"ends with {', '.join(suffixes)}; a web server does not list its files"
            )
        store = S3Store(source, None, self.addresses)
        # Some programs create an empty object for each folder.
        keys = [key for key in store.keys("") if not key.endswith("/")]
        selection = select_files(f"s3://{store.bucket}/{store.prefix}", keys, suffixes)
        omit(selection)
        if not selection.files:
            raise UserError(
                f"source s3://{store.bucket}/{store.prefix} contains no {', '.join(suffixes)} file"
            )
        return [(name, self._download_object(source, store, name)) for name in selection.files]

    def _download_object(self, source: str, store: S3Store, key: str) -> Path:
        address, remote = f"{source}#{key}", S3File(store, key)
        try:
            return self._download(key, address, remote, self.digests.of(key), self.progress)
        except FileUnavailable as error:
            raise TransientError(f"{remote.label}: {error}; it was deleted during the run") from None

    def _download(self, name: str, address: str, remote: Remote, digest: str, progress: Progress) -> Path:
        # The digest is that of the whole address: another server has other files at the same path.
        folder = self.cache / hashlib.sha256(address.encode()).hexdigest()[:16]
        copy = cached(remote, folder, PurePosixPath(name).name, digest, progress)
        if self.digests.of(name):
            self.digests.add_verified(name)
        if self.on_incomplete and not copy.is_complete:
            self.on_incomplete(remote.label)
        return copy.path

    def _local(self, path: Path, names: Sequence[str]) -> Path:
        try:
            if path.is_file():
                self.digests.verify(path, path.name)
                return path
            file = _find_file(path, names)
            if file is None:
                problem = (
                    "contains none of" if path.is_dir() else "is neither a file nor a folder with one of"
                )
                raise UserError(f"source {path} {problem} {', '.join(names)}")
            with file.open("rb"):
                if self.on_read:
                    self.on_read(file)
            self.digests.verify(file, file.name)
            return file
        except PermissionError as error:
            raise UserError(f"source {error.filename}: this user may not read it") from None


def _find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the file in `folder` that has one of the names in any case.

    Raises UserError if there are several: the rows of one of them would be missing.
    """
    lower = {name.lower() for name in names}
    files = (path for path in sorted(folder.iterdir()) if path.is_file()) if folder.is_dir() else ()
    matches = [path for path in files if path.name.lower() in lower]
    if len(matches) > 1:
        raise _ambiguous(str(folder), matches[0].name, matches[1].name)
    return matches[0] if matches else None


def _require_absent(remote: Remote, read: Remote) -> None:
    """Raise FileUnavailable if the file does not exist, and UserError if it does, besides the file `read`."""
    stream = remote.open()
    if stream:
        stream.close()
    folder, _, first = read.label.rpartition("/")
    raise _ambiguous(folder, first, remote.label.rpartition("/")[2])


def _ambiguous(source: str, first: str, second: str) -> UserError:
    return UserError(
        f"source {source}: contains both {first} and {second}, of which only one is read. Remove the other"
    )


def _candidates(
    source: str, names: Sequence[str], addresses: AddressPolicy
) -> Iterator[tuple[str, str, Remote]]:
    """Yield each name with its address and its remote file."""
    parts = urlsplit(source)
    if parts.scheme not in {"https", "http", "s3"}:
        raise UserError(
            f"source {source!r}: give a folder, a file, https://HOST/PATH or s3://BUCKET/PREFIX?endpoint=HOST:PORT"
        )
    path = PurePosixPath(parts.path or "/")
    endings = {PurePosixPath(name).suffix for name in names} - {""}
    if not parts.path.endswith("/") and (path.name in names or path.suffix.lower() in endings):
        paths = [(path.name, path)]
    else:
        paths = [(name, path / quote(name)) for name in names]
    for name, file_path in paths:
        address = urlunsplit(parts._replace(path=str(file_path)))
        if parts.scheme == "s3":
            store = S3Store(urlunsplit(parts._replace(path=str(file_path.parent))), None, addresses)
            yield name, address, S3File(store, name)
        else:
            yield name, address, HttpFile(address, addresses)
