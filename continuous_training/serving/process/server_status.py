"""The state of a server and its models: the result of `python -m serving status`."""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.core.json_object import Json
from continuous_training.serving.models.model_status import ModelStatus
from continuous_training.serving.process.state_files import RunningServer


@dataclass(frozen=True)
class ServerStatus:
    """The result of `python -m serving status`. `server` is None if no server is running."""

    server: RunningServer | None
    models: tuple[ModelStatus, ...] = ()

    def to_json(self) -> Json:
        """Return the JSON object of `--json`. It does not contain the token."""
        if self.server is None:
            return {"running": False}
        return {
            "running": True,
            "pid": self.server.pid,
            "url": self.server.url,
            "started": self.server.started,
            "models": [model.to_json() for model in self.models],
        }
