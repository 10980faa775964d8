"""The interface of an object store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from continuous_training.core.errors import UserError


class ObjectStore(ABC):
    """Objects by key. A key is a path of plain names with slashes."""

    @abstractmethod
    def put(self, key: str, path: Path) -> str:
        """Store the file under `key`. Replaces an existing object. Return the object's URI."""

    @abstractmethod
    def put_if_absent(self, key: str, path: Path) -> str:
        """Store the file under `key` unless the object exists. Return the object's URI."""

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Store the bytes under a new key. Return False, and write nothing, if the object exists.

        Of several simultaneous calls, one returns True.
        """

    @abstractmethod
    def fetch(self, key: str, folder: Path) -> Path:
        """Return a local path to the object; download it into `folder` if it is not local.

        Raises UserError if the object does not exist.
        """

    @abstractmethod
    def read(self, key: str) -> bytes | None:
        """Return the object's bytes, or None if it does not exist."""

    @abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Store the bytes under `key`. Replaces an existing object."""

    @abstractmethod
    def keys(self, prefix: str) -> list[str]:
        """Return the keys below `prefix` (a key's first names; empty for all), sorted."""

    @abstractmethod
    def size(self, key: str) -> int | None:
        """Return the object's size in bytes, or None if it does not exist."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object. No effect if it does not exist."""


def valid_key(key: str) -> str:
    """Return the key. Raises UserError if it is not a path of plain names."""
    if any(part in {"", ".", ".."} for part in key.split("/")):
        raise UserError(f"object store: the key {key!r} is not a path of plain names")
    return key
