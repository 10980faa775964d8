"""The object store: a folder on one machine, or a bucket of an S3 service.

A write is atomic and idempotent.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from continuous_training.adapters.object_store.base import ObjectStore
from continuous_training.adapters.object_store.folder_store import FolderStore
from continuous_training.adapters.object_store.s3_store import S3Object, S3Store
from continuous_training.core.errors import UserError

__all__ = ["FolderStore", "ObjectStore", "S3Object", "S3Store", "open_store", "store_host"]


def open_store(uri: str, access: tuple[str, str] | None = None) -> ObjectStore:
    """Return the store of a folder's path or `s3://BUCKET/PREFIX?endpoint=HOST:PORT[&secure=false]`.

    `access` is the S3 key and secret. The default is the usual AWS environment variables and files.
    """
    if uri.startswith("s3://"):
        return S3Store(uri, access)
    if "://" in uri:
        raise UserError(f"object store {uri!r}: give a folder or s3://BUCKET/PREFIX?endpoint=HOST:PORT")
    return FolderStore(Path(uri))


def store_host(uri: str) -> str:
    """Return the host of the endpoint in an s3:// address; empty if it has none."""
    endpoint = dict(parse_qsl(urlsplit(uri).query)).get("endpoint", "")
    return urlsplit(f"//{endpoint}").hostname or ""
