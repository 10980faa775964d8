"""The issuers whose tokens the service accepts, and the claims that identify a caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from continuous_training.core.errors import UserError
from continuous_training.core.json_object import JsonObject

DEFAULT_CLOCK_SKEW = 60
_MAX_CLOCK_SKEW = 600
_MAX_SUBJECT = 200


@dataclass(frozen=True)
class Issuer:
    """An OpenID Connect issuer. Tokens must have its `url` as `iss`, and `audience` as `aud`.

    `clock_skew` is the number of seconds by which the clocks may differ.
    """

    url: str
    audience: str
    clock_skew: int = DEFAULT_CLOCK_SKEW

    @classmethod
    def from_json(cls, document: JsonObject) -> Issuer:
        """Read one entry of `issuers`. Raises UserError that names the invalid field."""
        issuer = cls(
            document.text("url"),
            document.text("audience"),
            document.integer("clock_skew", DEFAULT_CLOCK_SKEW),
        )
        parts = urlsplit(issuer.url)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.username:
            raise document.invalid("url", "an https address without a query")
        if not issuer.audience:
            raise document.invalid("audience", "a text that is not empty")
        if not 0 <= issuer.clock_skew <= _MAX_CLOCK_SKEW:
            raise document.invalid("clock_skew", f"a number of seconds from 0 to {_MAX_CLOCK_SKEW}")
        return issuer


@dataclass(frozen=True)
class VerifiedToken:
    """The claims of a token whose signature, issuer, audience and times were verified."""

    issuer: Issuer
    claims: Mapping[str, object]

    @property
    def subject(self) -> str:
        """The claim `sub`, which identifies a person or a program at the issuer, as one short line."""
        subject = str(self.claims["sub"])[:_MAX_SUBJECT]
        return "".join(character if character.isprintable() else "?" for character in subject)


@dataclass(frozen=True)
class RequiredClaims:
    """The claims that a token of an issuer must have to belong to a caller. There is at least one."""

    issuer: Issuer
    values: Mapping[str, str]

    @classmethod
    def from_json(cls, document: JsonObject, issuers: Mapping[str, Issuer]) -> RequiredClaims:
        """Read one entry of a caller's `oidc`. Raises UserError that names the invalid field."""
        name = document.text("issuer")
        if name not in issuers:
            raise document.invalid("issuer", f"one of the issuers: {', '.join(issuers) or 'there are none'}")
        values = document.texts("claims")
        if not values:
            # Everyone can get a token of a public issuer such as GitHub.
            raise UserError(
                f"{document.document}: {document.field('claims')} is empty: name at least one claim, for "
                "example sub"
            )
        return cls(issuers[name], values)

    def match(self, token: VerifiedToken) -> bool:
        """Return whether the token has each claim: as its value, or in its list of values."""
        return token.issuer == self.issuer and all(
            _has_value(token.claims.get(name), value) for name, value in self.values.items()
        )

    @property
    def names_subject(self) -> bool:
        """Whether the claims identify a single subject."""
        return "sub" in self.values


def _has_value(claim: object, value: str) -> bool:
    return value in claim if isinstance(claim, list) else claim == value
