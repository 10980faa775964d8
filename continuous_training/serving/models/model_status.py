"""The state of one model of a server, as the management port reports it."""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.core.errors import PipelineError
from continuous_training.core.json_object import Json

READY, UNAVAILABLE = "READY", "UNAVAILABLE"
SERVING, ON_TRIAL = "serving", "probation"
"""The values of the JSON field `phase`: a confirmed version, and a version on trial."""


@dataclass(frozen=True)
class ModelStatus:
    """One entry of a server's model index.

    An UNAVAILABLE model has only a name and the reason. `previous_digest` and `trial_seconds_left` are None
    unless the version is on trial. `fallback_responses` counts the requests that failed on the version on
    trial and were answered by the previous version. `loaded_at` is a time in UTC, in ISO 8601.
    """

    name: str
    state: str
    reason: str = ""
    version: str = ""
    digest: str | None = None
    phase: str | None = None
    previous_digest: str | None = None
    trial_seconds_left: float | None = None
    fallback_responses: int = 0
    loaded_at: str | None = None
    archive: str | None = None

    @property
    def ready(self) -> bool:
        """True if the model is served."""
        return self.state == READY

    @property
    def on_trial(self) -> bool:
        """True if the server reverts to the previous version unless this version is confirmed in time."""
        return self.phase == ON_TRIAL

    def to_json(self) -> Json:
        """Return the entry as the server sends it in its index."""
        if not self.ready:
            return {"name": self.name, "version": "", "state": self.state, "reason": self.reason}
        return {"state": self.state, "reason": self.reason, **self.change_to_json()}

    def change_to_json(self) -> Json:
        """Return the entry as the server sends it in the response to a change of this model."""
        return {
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "phase": self.phase,
            "former": self.previous_digest,
            "expires_in": self.trial_seconds_left,
            "shielded": self.fallback_responses,
            "loaded_at": self.loaded_at,
            "archive": self.archive,
        }

    @classmethod
    def from_json(cls, entry: Json) -> ModelStatus:
        """Read an entry of the index, or the response to a change of one model, which has no state.

        Raises PipelineError if a field is missing.
        """
        try:
            if "state" not in entry and entry["digest"] is None:
                return cls(entry["name"], UNAVAILABLE)
            if entry.get("state", READY) != READY:
                return cls(entry["name"], entry["state"], entry["reason"])
            return cls(
                name=entry["name"],
                state=READY,
                version=entry["version"],
                digest=entry["digest"],
                phase=entry["phase"],
                previous_digest=entry["former"],
                trial_seconds_left=entry["expires_in"],
                fallback_responses=entry["shielded"],
                loaded_at=entry["loaded_at"],
                archive=entry["archive"],
            )
        except (KeyError, TypeError) as error:
            raise PipelineError(f"the server's model index has an invalid entry: {error!r}") from error
