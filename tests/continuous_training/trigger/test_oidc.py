"""Bearer tokens of an OpenID Connect issuer, with a real issuer over HTTP and the real service."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization

from continuous_training.core.address_policy import AddressPolicy
from continuous_training.core.errors import TransientError, UserError
from continuous_training.trigger.caller_file import read_callers
from continuous_training.trigger.oidc import issuer_keys
from continuous_training.trigger.oidc.issuer import Issuer
from continuous_training.trigger.oidc.issuer_keys import IssuerKeys
from continuous_training.trigger.oidc.token_verifier import TokenVerifier

from .oidc_issuer import AUDIENCE, FakeIssuer, ec_key, public_jwk, rsa_key, run_issuer, unsigned_token
from .running_service import Service, running_service

RSA_KEY, OTHER_KEY, EC_KEY = rsa_key(), rsa_key(), ec_key()
CALLERS = """
  ana:
    oidc: [{{issuer: own, claims: {{sub: ana}}}}]
    rights: {{digits: [start, read]}}
  scientists:
    oidc: [{{issuer: own, claims: {{groups: scientists}}}}]
    rights: {{"*": [read]}}
issuers:
  own: {{url: "{url}", audience: continuous-training}}
"""


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    with run_issuer() as running:
        running.keys = [public_jwk(RSA_KEY, kid="key-1"), public_jwk(EC_KEY, kid="key-2", use="sig")]
        yield running


@pytest.fixture
def service(tmp_path: Path, issuer: FakeIssuer) -> Iterator[Service]:
    with running_service(tmp_path, callers=CALLERS.format(url=issuer.url)) as running:
        yield running


def get(service: Service, token: str, path: str = "/pipelines") -> requests.Response:
    return requests.get(service.url + path, headers={"authorization": f"Bearer {token}"}, timeout=30)


def names(response: requests.Response) -> list[str]:
    return [pipeline["name"] for pipeline in response.json()["pipelines"]]


def test_valid_tokens_have_the_rights_of_their_claims(service: Service, issuer: FakeIssuer) -> None:
    own = issuer.token(RSA_KEY)
    assert names(get(service, own)) == ["digits"]
    headers = {"authorization": f"Bearer {own}"}
    started = requests.post(f"{service.url}/pipelines/digits/runs", json={}, headers=headers, timeout=30)
    forbidden = requests.post(f"{service.url}/pipelines/mnist/runs", json={}, headers=headers, timeout=30)
    assert (started.status_code, forbidden.status_code) == (202, 403)
    assert started.json()["caller"] == "ana"

    member = issuer.token(EC_KEY, "key-2", sub="ben", groups=["users", "scientists"])
    assert names(get(service, member)) == ["digits", "iris", "mnist"]
    denied = requests.post(
        f"{service.url}/pipelines/mnist/runs",
        json={},
        headers={"authorization": f"Bearer {member}"},
        timeout=30,
    )
    # A caller with several subjects is named with the subject.
    assert (denied.status_code, "scientists:ben" in denied.text) == (403, True)
    # Tokens of the file work as before.
    assert service.get("/pipelines").status_code == 200


def public_pem() -> bytes:
    return RSA_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def hs256_with_the_public_key(issuer: FakeIssuer) -> str:
    payload = {"iss": issuer.url, "aud": AUDIENCE, "sub": "ana", "exp": time.time() + 300}
    signed, _, _ = unsigned_token(payload, "HS256").rpartition(".")
    signature = hmac.digest(public_pem(), signed.encode(), hashlib.sha256)
    return f"{signed}.{jwt.utils.base64url_encode(signature).decode()}"


def rejected_tokens(issuer: FakeIssuer) -> dict[str, str]:
    now = time.time()
    payload = {"iss": issuer.url, "aud": AUDIENCE, "sub": "ana", "exp": now + 300}
    valid = issuer.token(RSA_KEY)
    head, body, signature = valid.split(".")
    other_body = issuer.token(RSA_KEY, sub="other").split(".")[1]
    return {
        "expired": issuer.token(RSA_KEY, exp=now - 120),
        "not yet valid": issuer.token(RSA_KEY, nbf=now + 120),
        "without an expiry": issuer.token(RSA_KEY, exp=None),
        "without a subject": issuer.token(RSA_KEY, sub=None),
        "another audience": issuer.token(RSA_KEY, aud="another"),
        "without an audience": issuer.token(RSA_KEY, aud=None),
        "another issuer": issuer.token(RSA_KEY, iss="https://issuer.example"),
        "another key": issuer.token(OTHER_KEY),
        "an unknown key": issuer.token(OTHER_KEY, "key-9"),
        "without a key id": issuer.token(RSA_KEY, None),
        "another caller": issuer.token(RSA_KEY, sub="eve"),
        "none": unsigned_token(payload),
        "None with a signature": unsigned_token(payload, "None", b"x"),
        "HS256 with the public key": hs256_with_the_public_key(issuer),
        "HS256 with a secret": jwt.encode(payload, "s" * 32, "HS256", {"kid": "key-1"}),
        "RS512": issuer.token(RSA_KEY, algorithm="RS512"),
        "the key of another algorithm": issuer.token(EC_KEY, "key-1"),
        "another body": f"{head}.{other_body}.{signature}",
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "no JSON": "e30.e30.e30",
        "deeply nested": unsigned_token({}) + "." * 3,
    }


def test_invalid_tokens_are_rejected_and_not_logged(
    service: Service, issuer: FakeIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    assert get(service, issuer.token(RSA_KEY)).status_code == 200
    with caplog.at_level(logging.DEBUG):
        tokens = rejected_tokens(issuer)
        statuses = {name: get(service, token).status_code for name, token in tokens.items()}
    assert statuses == dict.fromkeys(tokens, 401)
    assert not any(token in caplog.text for token in tokens.values())


def test_clocks_may_differ_by_the_skew(service: Service, issuer: FakeIssuer) -> None:
    now = time.time()
    assert get(service, issuer.token(RSA_KEY, exp=now - 30, nbf=now + 30)).status_code == 200


def test_a_rotated_key_is_read_and_a_withdrawn_key_is_rejected(
    service: Service, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = issuer.token(RSA_KEY), issuer.token(OTHER_KEY, "key-3")
    assert (get(service, old).status_code, get(service, new).status_code) == (200, 401)
    issuer.keys = [public_jwk(OTHER_KEY, kid="key-3")]
    # The keys were read a moment ago.
    assert get(service, new).status_code == 401
    monkeypatch.setattr(issuer_keys, "MIN_INTERVAL", 0)
    assert (get(service, new).status_code, get(service, old).status_code) == (200, 401)


def test_keys_are_cached_and_unknown_keys_cause_no_flood(service: Service, issuer: FakeIssuer) -> None:
    tokens = [issuer.token(RSA_KEY), *(issuer.token(OTHER_KEY, f"key-{n}") for n in range(20))]
    statuses = [get(service, token).status_code for token in tokens]
    assert statuses == [200, *[401] * 20]
    assert issuer.requests == ["/.well-known/openid-configuration", "/keys"]


def verifier(url: str, addresses: AddressPolicy | None = None) -> TokenVerifier:
    created = TokenVerifier(addresses or AddressPolicy())
    created.set_issuers([Issuer(url, AUDIENCE)])
    return created


def test_old_keys_are_read_again(issuer: FakeIssuer) -> None:
    now = [0.0]
    keys = IssuerKeys(Issuer(issuer.url, AUDIENCE), AddressPolicy(), clock=lambda: now[0])
    assert keys.find("key-1") is not None
    issuer.keys = []
    now[0] = issuer_keys.MAX_AGE
    assert keys.find("key-1") is not None
    now[0] += 1
    assert keys.find("key-1") is None


def test_known_keys_stay_valid_while_the_issuer_is_unreachable(issuer: FakeIssuer) -> None:
    now = [0.0]
    keys = IssuerKeys(Issuer(issuer.url, AUDIENCE), AddressPolicy(), clock=lambda: now[0])
    assert keys.find("key-1") is not None
    issuer.documents = {"/keys": None}
    now[0] = 2 * issuer_keys.MAX_AGE
    assert keys.find("key-1") is not None


@pytest.mark.parametrize(
    ("documents", "redirect"),
    [
        ({"/.well-known/openid-configuration": None}, ""),
        ({"/.well-known/openid-configuration": {"issuer": "https://another", "jwks_uri": "x"}}, ""),
        ({"/.well-known/openid-configuration": ["x"]}, ""),
        ({"/keys": {"keys": "x"}}, ""),
        ({"/keys": {"keys": [], "padding": "x" * 2**20}}, ""),
        ({}, "http://127.0.0.1:1/"),
    ],
)
def test_an_issuer_without_usable_keys_is_a_temporary_error(
    documents: dict[str, Any], redirect: str, tmp_path: Path, issuer: FakeIssuer
) -> None:
    issuer.documents, issuer.redirect = documents, redirect
    with running_service(tmp_path, callers=CALLERS.format(url=issuer.url)) as service:
        assert get(service, issuer.token(RSA_KEY)).status_code == 503
        assert service.get("/pipelines").status_code == 200


def test_keys_of_other_kinds_are_not_used(issuer: FakeIssuer) -> None:
    weak = rsa_key(1024)
    issuer.keys = [
        public_jwk(weak, kid="weak"),
        public_jwk(RSA_KEY, kid="encryption", use="enc"),
        public_jwk(RSA_KEY, kid="RS512", alg="RS512"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {"kty": "RSA", "n": "x", "kid": "damaged"},
        public_jwk(RSA_KEY, kid="valid", alg="RS256"),
    ]
    keys = IssuerKeys(Issuer(issuer.url, AUDIENCE), AddressPolicy())
    ids = ("weak", "encryption", "RS512", "secret", "damaged", "valid")
    assert [key_id for key_id in ids if keys.find(key_id)] == ["valid"]
    # A token without a key id belongs to the only key.
    assert keys.find(None) is keys.find("valid")


@pytest.mark.parametrize(
    "keys_url", ["http://169.254.169.254/keys", "http://10.96.0.1/keys", "http://issuer.example/keys"]
)
def test_the_address_of_the_keys_follows_the_address_policy(
    keys_url: str, issuer: FakeIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    """The discovery document cannot lead the service to a metadata address, a Service, or away from TLS."""
    path = "/.well-known/openid-configuration"
    issuer.documents = {path: {"issuer": issuer.url, "jwks_uri": keys_url}}
    policy = AddressPolicy.from_environment(
        {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "CT_SOURCE_HOSTS": "127.0.0.1"}
    )
    with pytest.raises(TransientError):
        verifier(issuer.url, policy).verify(issuer.token(RSA_KEY))
    assert issuer.requests == [path]
    assert keys_url.split("/")[2] in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("issuers: {a: {url: 'ftp://x', audience: b}}\ncallers: {}", "issuers.a.url"),
        ("issuers: {a: {url: 'https://x'}}\ncallers: {}", "issuers.a.audience is missing"),
        ("issuers: {a: {url: 'https://x', audience: b, clock_skew: -1}}\ncallers: {}", "clock_skew"),
        ("callers: {c: {oidc: [{issuer: a, claims: {sub: x}}], rights: {}}}", "one of the issuers"),
        (
            "issuers: {a: {url: 'https://x', audience: b}}\n"
            "callers: {c: {oidc: [{issuer: a, claims: {}}], rights: {}}}",
            "at least one claim",
        ),
        ("callers: {c: {oidc: [], rights: {}}}", "tokens is missing"),
    ],
)
def test_an_invalid_file_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "callers.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_callers(path)


def test_a_caller_of_the_file_is_revoked_without_a_restart(
    service: Service, issuer: FakeIssuer, tmp_path: Path
) -> None:
    token = issuer.token(RSA_KEY)
    assert get(service, token).status_code == 200
    path = tmp_path / "callers.yaml"
    path.write_text(path.read_text().replace("sub: ana", "sub: ben"))
    assert get(service, token).status_code == 401
    assert get(service, issuer.token(RSA_KEY, sub="ben")).status_code == 200
    # The keys of the issuer were kept.
    assert issuer.requests == ["/.well-known/openid-configuration", "/keys"]
