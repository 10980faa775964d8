"""The public keys of an issuer, by OpenID Connect Discovery 1.0, with a cache."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import jwt
import requests

from continuous_training.adapters.guarded_connections import open_session
from continuous_training.core.address_policy import AddressPolicy
from continuous_training.core.errors import PipelineError, TransientError, UserError
from continuous_training.core.json_object import Json, JsonObject
from continuous_training.trigger.oidc.issuer import Issuer

log = logging.getLogger(__name__)

MAX_AGE = 3600.0
"""Seconds after which the keys are read again, so that a withdrawn key is no longer accepted."""

MIN_INTERVAL = 30.0
"""Seconds between two requests to an issuer: tokens with unknown keys must not cause a flood of them."""

_ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
_MIN_RSA_BITS = 2048
_MAX_BYTES = 1024 * 1024
_TIMEOUT = (5, 10)
_LOCAL = ("localhost", "127.0.0.1", "::1")


class IssuerKeys:
    """The keys of one issuer. An unknown key id causes another request, because issuers rotate their keys.

    While the issuer cannot be reached, the keys that are known stay valid.
    """

    def __init__(
        self, issuer: Issuer, addresses: AddressPolicy, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.issuer, self._clock = issuer, clock
        self._is_local = urlsplit(issuer.url).hostname in _LOCAL
        self._addresses = addresses
        self._session = open_session(addresses, f"issuer {issuer.url}", self._check_url)
        self._lock = threading.Lock()
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._read_at = self._tried_at = -math.inf

    def find(self, key_id: str | None) -> jwt.PyJWK | None:
        """Return the key with this id, or the only key for a token without an id. None if there is none.

        Raises TransientError if the keys were never read.
        """
        key = self._find(key_id)
        if key is None or self._clock() - self._read_at > MAX_AGE:
            self._refresh()
            key = self._find(key_id)
        if self._read_at == -math.inf:
            raise TransientError(f"the keys of the issuer {self.issuer.url} cannot be read; try again later")
        return key

    def _find(self, key_id: str | None) -> jwt.PyJWK | None:
        keys = self._keys
        if key_id is None:
            return next(iter(keys.values())) if len(keys) == 1 else None
        return keys.get(key_id)

    def _refresh(self) -> None:
        """Read the keys, unless they were requested a moment ago, or another thread requests them now."""
        if not self._lock.acquire(blocking=not self._keys):
            return
        try:
            if self._clock() - self._tried_at < MIN_INTERVAL:
                return
            self._tried_at = self._clock()
            self._keys = self._read_keys()
            self._read_at = self._clock()
            log.info("read %d keys of the issuer %s", len(self._keys), self.issuer.url)
        except (PipelineError, requests.RequestException) as error:
            log.error("the keys of the issuer %s cannot be read: %s", self.issuer.url, error)
        finally:
            self._lock.release()

    def _read_keys(self) -> Mapping[str, jwt.PyJWK]:
        discovery = self._get(f"{self.issuer.url.rstrip('/')}/.well-known/openid-configuration")
        if discovery.text("issuer") != self.issuer.url:
            raise UserError(
                f"{discovery.document} belongs to the issuer {discovery.text('issuer')!r}; write its address "
                "exactly as it does"
            )
        keys = self._get(discovery.text("jwks_uri")).nested_list("keys")
        usable = ((key.text("kid", ""), _public_key(key.value)) for key in keys)
        return {key_id: key for key_id, key in usable if key}

    def _get(self, url: str) -> JsonObject:
        """Return the JSON object at the address. A redirect is an error."""
        with self._session.get(url, timeout=_TIMEOUT, allow_redirects=False, stream=True) as response:
            if response.status_code != 200:
                raise TransientError(f"{url} answers {response.status_code}")
            content = response.raw.read(_MAX_BYTES + 1, decode_content=True)
        if len(content) > _MAX_BYTES:
            raise UserError(f"{url} is larger than {_MAX_BYTES} bytes")
        return JsonObject.parse(content, url)

    def _check_url(self, url: str) -> None:
        """Raise UserError for an address without TLS, except on this machine or for a listed host."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "https" or (self._is_local and host in _LOCAL) or self._addresses.lists(host):
            return
        raise UserError(
            f"{url} is not an https address; http is permitted on this machine, and for hosts in "
            "CT_SOURCE_HOSTS"
        )


def _public_key(data: Mapping[str, object]) -> jwt.PyJWK | None:
    """Return a key for RS256 or ES256 signatures, or None for a key of another kind."""
    kind = str(data.get("kty"))
    algorithm = _ALGORITHMS.get(kind)
    if algorithm is None or data.get("alg", algorithm) != algorithm or data.get("use", "sig") != "sig":
        return None
    if kind == "EC" and data.get("crv") != "P-256":
        return None
    public: Json = {name: value for name, value in data.items() if name in ("kty", "n", "e", "crv", "x", "y")}
    try:
        key = jwt.PyJWK(public, algorithm)
    except jwt.PyJWTError as error:
        log.warning("a key of the issuer is not valid: %s", type(error).__name__)
        return None
    return None if kind == "RSA" and key.key.key_size < _MIN_RSA_BITS else key
