"""The deployment target `local`: what it reports when it starts the server."""

from __future__ import annotations

import socket
from pathlib import Path

from continuous_training.rollout.local import LocalTarget
from continuous_training.serving.process import daemon


def test_a_port_in_use_is_reported_and_another_port_is_used(tmp_path: Path) -> None:
    messages: list[str] = []
    folder = tmp_path / "serving"
    folder.mkdir()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (folder / "port").write_text(str(port))
        try:
            url = LocalTarget(tmp_path, messages.append).url("toy")
        finally:
            daemon.stop(tmp_path)
    assert f":{port}/" not in url
    (message,) = messages
    assert f"port {port}{daemon.PORT_TAKEN}" in message
