"""An OpenID Connect issuer: an HTTP server with the discovery document and the public keys."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "continuous-training"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_jwk(key: PrivateKey, **values: str) -> dict[str, Any]:
    """Return the public key as a JSON Web Key."""
    if isinstance(key, rsa.RSAPrivateKey):
        return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), **values}
    return {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), **values}


@dataclass
class FakeIssuer:
    """The server's address and the keys that it publishes. `documents` replace its responses, by path."""

    url: str
    keys: list[dict[str, Any]] = field(default_factory=list)
    documents: dict[str, Any] = field(default_factory=dict)
    redirect: str = ""
    requests: list[str] = field(default_factory=list)

    def response(self, path: str) -> Any:
        discovery = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        documents = {"/.well-known/openid-configuration": discovery, "/keys": {"keys": self.keys}}
        return {**documents, **self.documents}.get(path)

    def token(self, key: PrivateKey, key_id: str | None = "key-1", algorithm: str = "", **claims: Any) -> str:
        """Return a signed token with valid claims, except those in `claims` (None removes a claim)."""
        now = time.time()
        payload = {"iss": self.url, "aud": AUDIENCE, "sub": "ana", "iat": now, "exp": now + 300, **claims}
        default = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        headers = {"kid": key_id} if key_id else {}
        payload = {name: value for name, value in payload.items() if value is not None}
        return jwt.encode(payload, key, algorithm or default, headers)


def unsigned_token(payload: dict[str, Any], algorithm: str = "none", signature: bytes = b"") -> str:
    """Return a token with this algorithm in its header, without verification of the signature."""
    header = {"alg": algorithm, "typ": "JWT", "kid": "key-1"}
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@contextmanager
def run_issuer() -> Iterator[FakeIssuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requests.append(self.path)
            content = issuer.response(self.path)
            if issuer.redirect:
                self.send_response(302)
                self.send_header("location", issuer.redirect)
                self.send_header("content-length", "0")
                self.end_headers()
                return
            body = json.dumps(content).encode()
            self.send_response(200 if content is not None else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = FakeIssuer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
