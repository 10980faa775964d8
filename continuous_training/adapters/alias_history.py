"""Aliases of registered models, and the history of their moves.

Every move of an alias is stored as a tag of the registered model: time, alias, versions, reason, run and
position. The positions order the moves, because the clocks of the writers may differ or be set back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from continuous_training.adapters.experiment_tracking import ExperimentTracking
from continuous_training.artifacts.alias_move import AliasMove
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.core.json_object import JsonObject
from continuous_training.core.record_order import in_order, next_position

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
ROLLBACK = "rollback"
"""The `kind` of a move that a rollback made. A promotion has none."""

_RETIRED = "retired_champion"
"""The tag with which a person gives up a champion that is lost: its value is the version's number."""

_PREFIX = "moved."
"""The prefix of the tag of a move; the rest of the tag's key is the time."""


class AliasHistory(ExperimentTracking):
    """The aliases on an MLflow server, with the history of their moves."""

    def aliases(self, name: str) -> dict[str, str]:
        """Return the version of each alias of a model."""
        response = self.get("registered-models/get", {"name": name}) or {"registered_model": {}}
        return {
            entry["alias"]: str(entry["version"]) for entry in response["registered_model"].get("aliases", [])
        }

    def alias_history(self, name: str) -> list[AliasMove]:
        """Return the moves of a model's aliases, the oldest first."""
        tags = self._model_tags(name)
        moves = [
            AliasMove.from_json(
                key.removeprefix(_PREFIX),
                JsonObject.parse(tags[key], f"tag {key} of model {name}", ArtifactError),
            )
            for key in tags
            if key.startswith(_PREFIX)
        ]
        return in_order(moves, lambda move: move.position, lambda move: move.time)

    def retired_champion(self, name: str) -> str | None:
        """Return the version that a person gave up as champion with the tag `retired_champion`, or None."""
        return self._model_tags(name).get(_RETIRED)

    def move_alias(
        self, name: str, alias: str, version: str, reason: str, run: str, user: str = "", kind: str = ""
    ) -> None:
        """Move an alias to a version and record the move. No effect if the alias is already there.

        The alias moves last: if this raises, the alias is unchanged.
        """
        current = self._version_of(name, alias)
        if current == version:
            return
        trail = self.alias_history(name)
        time, position = _unused_time(trail), next_position(move.position for move in trail)
        move = AliasMove(time, alias, current, version, reason, run, user, kind, position)
        self._remove_unfinished(name, trail, move)
        tag = {"name": name, "key": f"{_PREFIX}{time}", "value": json.dumps(move.to_json())}
        self.post("registered-models/set-tag", tag)
        self.post("registered-models/alias", {"name": name, "alias": alias, "version": version})

    def remove_alias(self, name: str, alias: str, version: str | None = None) -> None:
        """Remove an alias, or only from `version` if given. No effect if there is nothing to remove."""
        current = self._version_of(name, alias)
        if current and version in (None, current):
            self.send("DELETE", "mlflow/registered-models/alias", json={"name": name, "alias": alias})

    def _model_tags(self, name: str) -> dict[str, str]:
        response = self.get("registered-models/get", {"name": name}) or {"registered_model": {}}
        return {tag["key"]: tag["value"] for tag in response["registered_model"].get("tags", [])}

    def _version_of(self, name: str, alias: str) -> str | None:
        response = self.get("registered-models/alias", {"name": name, "alias": alias})
        return None if response is None else str(response["model_version"]["version"])

    def _remove_unfinished(self, name: str, trail: Sequence[AliasMove], move: AliasMove) -> None:
        """Remove the record of the same move by a process that died before it moved the alias."""
        moves = [earlier for earlier in trail if earlier.alias == move.alias]
        # The challenger alias is also removed, so it can move to the same version twice.
        if not moves or move.alias == CHALLENGER:
            return
        last = moves[-1]
        if (last.from_version, last.to_version) == (move.from_version, move.to_version):
            tag = {"name": name, "key": f"{_PREFIX}{last.time}"}
            self.send("DELETE", "mlflow/registered-models/delete-tag", json=tag)


def _unused_time(trail: Sequence[AliasMove]) -> str:
    """Return the time of a new move. The tag's key must differ from the keys of all other moves."""
    now, used = datetime.now(UTC), {move.time for move in trail}
    while (time := now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")) in used:
        now += timedelta(microseconds=1)
    return time
