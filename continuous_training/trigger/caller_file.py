"""The callers of the service: their tokens, of which only the SHA-256 is stored, and their rights.

A caller may also send a token of an OpenID Connect issuer, which is identified by its claims.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hmac import compare_digest
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from continuous_training.core.address_policy import OUTSIDE_CLUSTER, AddressPolicy
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import JsonObject
from continuous_training.trigger.oidc.issuer import Issuer, RequiredClaims, VerifiedToken

if TYPE_CHECKING:
    from continuous_training.trigger.oidc.token_verifier import TokenVerifier

log = logging.getLogger(__name__)

READ, START, CANCEL, APPROVE, ROLLBACK = "read", "start", "cancel", "approve", "rollback"
RIGHTS = (READ, START, CANCEL, APPROVE, ROLLBACK)
ALL_WORKLOADS = "*"
TOKEN_PREFIX = "ctt_"  # noqa: S105
"""The prefix with which a scanner for secrets recognises a token."""

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")


def new_token() -> str:
    """Return a random token with 256 bits. A slow hash is not necessary for it."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """Return the form in which a token is stored."""
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


@dataclass(frozen=True)
class Caller:
    """A caller with the digests of its valid tokens, and its rights by workload (`*`: all workloads).

    `claims` are alternatives: a token of an issuer needs all claims of one of them.
    """

    name: str
    tokens: tuple[str, ...]
    rights: Mapping[str, frozenset[str]]
    claims: tuple[RequiredClaims, ...] = ()

    def may(self, right: str, workload: str) -> bool:
        """Return whether the caller has a right on a workload."""
        return any(right in self.rights.get(name, ()) for name in (workload, ALL_WORKLOADS))

    def with_token(self, token: VerifiedToken) -> Caller | None:
        """Return the caller if the token belongs to it, else None.

        The name also has the subject of the token, unless the caller has a single subject.
        """
        matching = next((claims for claims in self.claims if claims.match(token)), None)
        if matching is None:
            return None
        return self if matching.names_subject else replace(self, name=f"{self.name}:{token.subject}")


@dataclass(frozen=True)
class CallerEntries:
    """The content of the file of the callers."""

    callers: tuple[Caller, ...]
    issuers: tuple[Issuer, ...]


class CallerFile:
    """The callers in a YAML file, which is read again when it changes.

    If a change makes the file invalid, the callers before it are kept, and the error is logged. `addresses`
    decides where the addresses of issuers may lead.
    """

    def __init__(self, path: Path, addresses: AddressPolicy = OUTSIDE_CLUSTER) -> None:
        self.path, self._addresses = path, addresses
        self._version = self._stat()
        self._verifier: TokenVerifier | None = None
        self._callers: tuple[Caller, ...] = ()
        self._set(read_callers(path))

    def find(self, token: str) -> Caller | None:
        """Return the caller with this token, or None. The time does not depend on the stored tokens."""
        self._update()
        digest, match = token_digest(token), None
        for caller in self._callers:
            for stored in caller.tokens:
                if compare_digest(stored, digest):
                    match = caller
        return match

    def find_by_claims(self, token: str) -> Caller | None:
        """Return the first caller to which a token of an issuer belongs, or None.

        May wait for a response of the issuer. Raises TransientError if its keys cannot be read.
        """
        verifier, callers = self._verifier, self._callers
        verified = verifier.verify(token) if verifier else None
        if verified is None:
            return None
        return next((found for caller in callers if (found := caller.with_token(verified))), None)

    def _set(self, entries: CallerEntries) -> None:
        if entries.issuers and self._verifier is None:
            self._verifier = _create_verifier(self._addresses)
        if self._verifier:
            self._verifier.set_issuers(entries.issuers)
        self._callers = entries.callers

    def _update(self) -> None:
        version = self._stat()
        if version == self._version:
            return
        self._version = version
        try:
            self._set(read_callers(self.path))
            log.info("read the callers in %s again", self.path)
        except (UserError, OSError) as error:
            log.error("the callers before the last change of %s are kept: %s", self.path, error)

    def _stat(self) -> tuple[int, int, int]:
        try:
            # Kubernetes replaces the file of a mounted Secret, and `stat` follows its links.
            stat = self.path.stat()
        except OSError:
            return 0, 0, 0
        return stat.st_mtime_ns, stat.st_ino, stat.st_size


def _create_verifier(addresses: AddressPolicy) -> TokenVerifier:
    # Not every installation of the service needs the library.
    try:
        from continuous_training.trigger.oidc.token_verifier import TokenVerifier
    except ImportError as error:
        raise UserError(
            f"tokens of issuers need the package PyJWT ({error}). To install it:\n"
            "pip install 'continuous-training[trigger]'"
        ) from None
    return TokenVerifier(addresses)


def read_callers(path: Path) -> CallerEntries:
    """Read the file. Raises UserError that names the invalid entry."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no file {path}; docs/trigger.md describes it") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {type(error).__name__}") from None
    document = JsonObject(content, str(path))
    issuers = document.items("issuers", Issuer.from_json, {})
    callers = document.nested("callers")
    entries = tuple(_caller(str(name), callers.nested(name), issuers) for name in callers.value)
    return CallerEntries(entries, tuple(issuers.values()))


def _caller(name: str, document: JsonObject, issuers: Mapping[str, Issuer]) -> Caller:
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{document.document}: {name!r} is not a name of letters, digits, '.', '_', '@' and '-'"
        )
    claims = tuple(RequiredClaims.from_json(item, issuers) for item in document.nested_list("oidc", []))
    tokens = () if claims and "tokens" not in document else document.text_list("tokens")
    if not all(_DIGEST.fullmatch(token) for token in tokens):
        # The message does not contain the value, which may be a token.
        raise UserError(
            f"{document.document}: {document.field('tokens')} must be digests of the form sha256:HEX; "
            "create a token and its digest with: python -m pipelines.trigger token"
        )
    rights = document.nested("rights")
    return Caller(name, tokens, {workload: _rights(rights, workload) for workload in rights.value}, claims)


def _rights(document: JsonObject, workload: str) -> frozenset[str]:
    rights = frozenset(document.text_list(workload))
    if unknown := rights - set(RIGHTS):
        raise UserError(
            f"{document.document}: {document.field(workload)}: there is no right {min(unknown)!r}; "
            f"the rights are {', '.join(RIGHTS)}"
        )
    return rights
