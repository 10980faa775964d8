"""An object store in a bucket of an S3 service."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from continuous_training.adapters.content_checksums import full_checksums
from continuous_training.adapters.object_store.base import ObjectStore, valid_key
from continuous_training.adapters.s3_errors import NO_BUCKET, convert
from continuous_training.core.address_policy import AddressPolicy
from continuous_training.core.errors import PipelineError, TransientError, UserError

_WITH_CHECKSUM: dict[str, str | list[str] | tuple[str]] = {"x-amz-checksum-mode": "ENABLED"}
"""The header that asks for the checksums of an object."""


@dataclass(frozen=True)
class S3Object:
    """The size in bytes of an object, its ETag, and the checksums that the store has of its whole content."""

    size: int
    etag: str
    checksums: Mapping[str, str]


class S3Store(ObjectStore):
    """Objects of one bucket, below one prefix, by the `minio` client.

    `addresses` decides where the endpoint of a run parameter may lead; None for an operator's setting.
    """

    def __init__(
        self, uri: str, access: tuple[str, str] | None, addresses: AddressPolicy | None = None
    ) -> None:
        from minio import Minio
        from minio.credentials.providers import (
            AWSConfigProvider,
            ChainedProvider,
            EnvAWSProvider,
            IamAwsProvider,
        )

        parts = urlsplit(uri)
        options = dict(item.split("=", 1) for item in parts.query.split("&") if "=" in item)
        endpoint = options.get("endpoint", "s3.amazonaws.com")
        chain = ChainedProvider([EnvAWSProvider(), AWSConfigProvider(), IamAwsProvider()])
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        if not self.bucket:
            raise UserError(f"object store {uri!r}: name a bucket, s3://BUCKET/PREFIX?endpoint=HOST:PORT")
        try:
            self.client = Minio(
                endpoint,
                access_key=access[0] if access else None,
                secret_key=access[1] if access else None,
                credentials=None if access else chain,
                secure=options.get("secure", "true") == "true",
                region=options.get("region", "us-east-1"),
            )
        except ValueError as error:
            raise UserError(f"object store {uri!r}: {error}") from None
        if addresses:
            # Start-up time: only sources of run parameters need it.
            from continuous_training.adapters.guarded_connections import guard

            guard(self.client._http, addresses, f"object store s3://{self.bucket}")
        # A redirect to another endpoint needs another signature, and could lead to another network.
        pools = self.client._http.connection_pool_kw
        pools["retries"] = pools["retries"].new(redirect=0, raise_on_redirect=False)
        if options.get("style") == "virtual":
            self.client.enable_virtual_style_endpoint()  # type: ignore[no-untyped-call]

    def put_if_absent(self, key: str, path: Path) -> str:
        """Upload the file unless the object exists."""
        return self.put(key, path) if self.size(key) is None else self.uri(key)

    def put(self, key: str, path: Path) -> str:
        """Upload the file. Only a complete upload is visible."""
        self._call(self.client.fput_object, self.bucket, self._name(key), str(path))
        return self.uri(key)

    def create(self, key: str, data: bytes) -> bool:
        """Upload the bytes with the condition `If-None-Match: *`, unless the object exists.

        A server that ignores the condition lets the last of several simultaneous writes win, so the object is
        read again, and the bytes of different callers must differ.
        """
        name = self._name(key)
        if self._size(name) is not None or not self._put_new(name, data):
            return False
        return self.read(key) == data

    def _put_new(self, name: str, data: bytes) -> bool:
        """Upload a new object. Return False if the server reports that it exists."""
        from minio.error import S3Error

        # The public method of the client sends no conditions.
        try:
            self.client._put_object(self.bucket, name, data, {"If-None-Match": "*"})
        except S3Error as error:
            # The second code: another write of the same key is in progress.
            if error.code in {"PreconditionFailed", "ConditionalRequestConflict"}:
                return False
            raise self._convert(error) from None
        except Exception as error:
            raise self._convert(error) from None
        return True

    def fetch(self, key: str, folder: Path) -> Path:
        """Download the object into `folder`. Raises UserError if it does not exist."""
        name = self._name(key)
        if self._size(name) is None:
            raise UserError(f"object store s3://{self.bucket}: there is no {name}")
        target = folder / Path(key).name
        self._call(self.client.fget_object, self.bucket, name, str(target))
        return target

    def read(self, key: str) -> bytes | None:
        """Return the object's bytes, or None."""
        name = self._name(key)
        if self._size(name) is None:
            return None
        response = self._call(self.client.get_object, self.bucket, name)
        try:
            return bytes(self._call(response.read))
        finally:
            response.close()
            response.release_conn()

    def write(self, key: str, data: bytes) -> None:
        """Upload the bytes. Replaces an existing object."""
        self._call(self.client.put_object, self.bucket, self._name(key), io.BytesIO(data), len(data))

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below `prefix`, sorted."""
        root = "".join(f"{part}/" for part in (self.prefix, prefix.rstrip("/")) if part)
        entries = self._call(lambda: list(self.client.list_objects(self.bucket, root, recursive=True)))
        prefix_length = len(self.prefix) + 1 if self.prefix else 0
        return sorted(entry.object_name[prefix_length:] for entry in entries)

    def size(self, key: str) -> int | None:
        """Return the object's size, or None."""
        return self._size(self._name(key))

    def uri(self, key: str) -> str:
        """Return the object's address, without the endpoint."""
        return f"s3://{self.bucket}/{self._name(key)}"

    def stat(self, key: str) -> S3Object | None:
        """Return the object's properties, or None if it does not exist."""
        stat = self._stat(self._name(key))
        if stat is None:
            return None
        headers = {name.lower(): str(value) for name, value in (stat.metadata or {}).items()}
        return S3Object(int(stat.size or 0), str(stat.etag or ""), full_checksums(headers))

    def stream(self, key: str, begin: int, tag: str) -> Any:
        """Return an open response with the bytes of version `tag` from `begin` on. The caller closes it.

        Raises TransientError if the object has another version now.
        """
        match = {"If-Match": f'"{tag}"'} if tag else None
        response = self._call(self.client.get_object, self.bucket, self._name(key), begin, 0, match)
        # Not every server supports If-Match.
        current = response.headers.get("ETag", "").strip('"')
        if tag and current and current != tag:
            response.close()
            raise TransientError(f"{self.uri(key)}: the object has changed since its size was read")
        return response

    def delete(self, key: str) -> None:
        """Remove the object. S3 accepts a key that does not exist."""
        self._call(self.client.remove_object, self.bucket, self._name(key))

    def _name(self, key: str) -> str:
        return f"{self.prefix}/{valid_key(key)}".strip("/")

    def _size(self, name: str) -> int | None:
        stat = self._stat(name)
        return None if stat is None else int(stat.size or 0)

    def _stat(self, name: str) -> Any:
        """Return the object's metadata, or None if it does not exist."""
        from minio.error import S3Error

        try:
            return self.client.stat_object(self.bucket, name, extra_headers=_WITH_CHECKSUM)
        except S3Error as error:
            if error.code not in {"NoSuchKey", "NoSuchObject"}:
                self._explain_head(name)
                raise self._convert(error) from None
        except Exception as error:
            raise self._convert(error) from None
        # A response to HEAD has no body, so a missing bucket looks like a missing object.
        if not self._call(self.client.bucket_exists, self.bucket):
            raise UserError(f"object store s3://{self.bucket}: {NO_BUCKET}")
        return None

    def _explain_head(self, name: str) -> None:
        """Raise the reason of a HEAD request that failed. Only a response to GET contains it."""
        response = self._call(self.client.get_object, self.bucket, name, 0, 1)
        response.close()
        response.release_conn()

    def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            raise self._convert(error) from None

    def _convert(self, error: Exception) -> PipelineError:
        return convert(error, f"object store s3://{self.bucket}")
