"""HTTP connections that lead only to addresses that an AddressPolicy allows.

The name of each host is resolved once, and the connection goes to an address that was checked, also after a
redirect. A name that resolves to another address at the next query therefore has no effect.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from continuous_training.core.address_policy import AddressPolicy, parse_address


def resolve(policy: AddressPolicy, label: str, host: str, port: int) -> list[str]:
    """Return the addresses of a host. Raises UserError if one is not allowed, and socket.gaierror.

    `label` is the source, for messages.
    """
    policy.check_host(label, host)
    entries = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    # The search domains of a pod complete a short name such as `store` to that of a Service.
    names = [host, *(str(entry[3]) for entry in entries if entry[3])]
    listed = next((name for name in names if policy.lists(name)), "")
    for name in [listed] if listed else names:
        policy.check_host(label, name)
    for text in addresses:
        if address := parse_address(text):
            policy.check_address(label, listed or host, address)
    return addresses


def open_session(policy: AddressPolicy, label: str, check_url: Callable[[str], None]) -> requests.Session:
    """Return a session. `check_url` is called with each address before its request, also of a redirect."""
    session = requests.Session()
    adapter = _Adapter(policy, label, check_url)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


def guard(manager: PoolManager, policy: AddressPolicy, label: str) -> None:
    """Let a manager open connections only to addresses that the policy allows."""
    manager.pool_classes_by_scheme = _pool_classes(policy, label)


class _Adapter(HTTPAdapter):
    def __init__(self, policy: AddressPolicy, label: str, check_url: Callable[[str], None]) -> None:
        self._policy, self._label, self._check_url = policy, label, check_url
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        guard(self.poolmanager, self._policy, self._label)

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        self._check_url(request.url or "")
        # Behind a proxy, the proxy resolves the name. The operator chose the proxy.
        host = urlsplit(request.url or "").hostname or ""
        self._policy.check_host(self._label, host)
        return super().send(request, *arguments, **options)


def _pool_classes(policy: AddressPolicy, label: str) -> dict[str, Any]:
    def connect(connection: HTTPConnection, open_socket: Callable[[], socket.socket]) -> socket.socket:
        """Open the socket to a checked address of the connection's host."""
        if connection.proxy:
            return open_socket()
        # This is urllib3's own attribute for another address than the name in Host header and certificate.
        host = connection._dns_host
        try:
            addresses = resolve(policy, label, host, connection.port or 0)
        except socket.gaierror as error:
            raise NameResolutionError(host, connection, error) from error
        for address in addresses:
            connection._dns_host = address
            try:
                return open_socket()
            except (NewConnectionError, ConnectTimeoutError):
                if address == addresses[-1]:
                    raise
            finally:
                connection._dns_host = host
        raise NewConnectionError(connection, f"{host} has no address")

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self, super()._new_conn)

    class SecureConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self, super()._new_conn)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": Pool, "https": SecurePool}
