"""Verify JSON Web Tokens of the configured issuers."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import jwt

from continuous_training.core.address_policy import AddressPolicy
from continuous_training.trigger.oidc.issuer import Issuer, VerifiedToken
from continuous_training.trigger.oidc.issuer_keys import IssuerKeys

log = logging.getLogger(__name__)

_REQUIRED = ["exp", "iss", "aud", "sub"]
_INVALID = (jwt.PyJWTError, ValueError, TypeError, RecursionError)
"""What PyJWT raises for a token that is not valid. A token is the input of a stranger."""


class TokenVerifier:
    """The issuers with their keys. The keys are read when the first token of an issuer arrives."""

    def __init__(self, addresses: AddressPolicy) -> None:
        self._addresses = addresses
        self._keys: dict[Issuer, IssuerKeys] = {}

    def set_issuers(self, issuers: Iterable[Issuer]) -> None:
        """Accept tokens of these issuers only. The keys of an unchanged issuer are kept."""
        self._keys = {
            issuer: self._keys.get(issuer) or IssuerKeys(issuer, self._addresses) for issuer in issuers
        }

    def verify(self, token: str) -> VerifiedToken | None:
        """Return the token if it is valid, otherwise None. The log has the reason, without the token.

        May wait for a response of the issuer.
        """
        try:
            header = jwt.get_unverified_header(token)
            # The claims only select the issuer, whose key then verifies them.
            claims = jwt.decode(token, options={"verify_signature": False})
        except _INVALID:
            return None
        for issuer, keys in self._keys.items():
            if claims.get("iss") == issuer.url and (verified := _verify(token, header, issuer, keys)):
                return verified
        return None


def _verify(token: str, header: dict[str, object], issuer: Issuer, keys: IssuerKeys) -> VerifiedToken | None:
    key_id = header.get("kid")
    key = keys.find(None if key_id is None else str(key_id))
    if key is None:
        log.info("a token of %s was rejected: its key is not known", issuer.url)
        return None
    try:
        claims = jwt.decode(
            token,
            key,
            # The algorithm is that of the key. The header of the token does not select it.
            algorithms=[key.algorithm_name],
            audience=issuer.audience,
            issuer=issuer.url,
            leeway=issuer.clock_skew,
            options={"require": _REQUIRED},
        )
    except _INVALID as error:
        log.info("a token of %s was rejected: %s", issuer.url, type(error).__name__)
        return None
    return VerifiedToken(issuer, claims)
