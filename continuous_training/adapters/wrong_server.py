"""The error for an address at which another program responds than the expected one."""

from __future__ import annotations

from urllib.parse import urlsplit

import requests

from continuous_training.core.errors import UserError


def wrong_server(product: str, address: str, response: requests.Response) -> UserError:
    """Return the error for a response that `product` does not send; `address` is the configured one."""
    request = response.request
    path = urlsplit(str(request.url)).path
    return UserError(
        f"the server at {address} is not {product}: it responds to {request.method} {path} with "
        f"{response.status_code}{server_name(response)}. If a port is forwarded to this address, another "
        "program uses the port, and kubectl port-forward has reported this: forward another port"
    )


def server_name(response: requests.Response) -> str:
    """Return the name that the server gives itself, in parentheses after a space, or an empty string."""
    name = response.headers.get("server", "")
    return f" (Server: {name})" if name else ""
