"""The model registry of an MLflow server: model versions and their aliases.

`champion` is the served version, `previous` the champion before it, and `challenger` the version that is
being evaluated or rolled out. `promote` moves the aliases; alias_history.py records every move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from continuous_training.adapters.alias_history import CHALLENGER, CHAMPION, PREVIOUS, ROLLBACK, AliasHistory
from continuous_training.core.errors import TransientError, UserError
from continuous_training.core.json_object import Json

__all__ = ["CHALLENGER", "CHAMPION", "PREVIOUS", "ROLLBACK", "ModelVersion", "Registry"]

_MAX_TAG = 5000


@dataclass(frozen=True)
class ModelVersion:
    """A registered version: one archive, identified by its digest. `run_id` is the MLflow run."""

    name: str
    version: str
    run_id: str
    tags: Mapping[str, str]

    @property
    def digest(self) -> str:
        """The sha256 of the archive."""
        return self._tag("archive_digest")

    @property
    def archive(self) -> str:
        """The archive's key in the object store."""
        return self._tag("archive_key")

    def _tag(self, key: str) -> str:
        if key not in self.tags:
            raise UserError(
                f"version {self.version} of {self.name} has no tag {key}: the archive step did not register "
                "it. Register models with the pipeline"
            )
        return self.tags[key]


class Registry(AliasHistory):
    """The registry of one MLflow server, with its runs and alias history."""

    def champion(self, name: str) -> ModelVersion | None:
        """Return the served version, or None before the first promotion."""
        return self.aliased(name, CHAMPION)

    def aliased(self, name: str, alias: str) -> ModelVersion | None:
        """Return the version with an alias, or None."""
        response = self.get("registered-models/alias", {"name": name, "alias": alias})
        return None if response is None else _model_version(response["model_version"])

    def find(self, name: str, digest: str) -> ModelVersion | None:
        """Return the first version that was registered for this archive, or None."""
        query = f"name='{name}' and tags.archive_digest='{digest}'"
        response = self.get("model-versions/search", {"filter": query, "max_results": "100"}) or {}
        versions = map(_model_version, response.get("model_versions", []))
        return min(versions, key=lambda version: int(version.version), default=None)

    def versions(self, name: str = "") -> list[ModelVersion]:
        """Return all versions of a model, or of all models, the oldest first."""
        query = {"max_results": "200"} | ({"filter": f"name='{name}'"} if name else {})
        versions: list[ModelVersion] = []
        while True:
            response = self.get("model-versions/search", query) or {}
            versions += map(_model_version, response.get("model_versions", []))
            if not (token := response.get("next_page_token")):
                return sorted(versions, key=lambda version: (version.name, int(version.version)))
            query["page_token"] = token

    def register(self, name: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
        """Return the version of an archive (`archive_digest` in `tags`). Creates it if there is none."""
        if existing := self.find(name, tags["archive_digest"]):
            return existing
        self.post("registered-models/create", {"name": name}, allowed="RESOURCE_ALREADY_EXISTS")
        source = f"mlflow-artifacts:/{self.artifact_root(run_id)}/model"
        tag_list = [{"key": key, "value": value[:_MAX_TAG]} for key, value in tags.items()]
        response = self.post(
            "model-versions/create", {"name": name, "source": source, "run_id": run_id, "tags": tag_list}
        )
        created = _model_version(response["model_version"])
        # Two runs, or a retried call, may register the same archive twice: keep the first version.
        first = self.find(name, created.digest) or created
        if first.version != created.version:
            duplicate = {"name": name, "version": created.version}
            self.send("DELETE", "mlflow/model-versions/delete", json=duplicate)
        return first

    def tag(self, version: ModelVersion, key: str, value: str) -> None:
        """Set a tag of a version. An existing value is replaced."""
        body = {"name": version.name, "version": version.version, "key": key, "value": value[:_MAX_TAG]}
        self.post("model-versions/set-tag", body)

    def promote(
        self, version: ModelVersion, expected: str | None, reason: str, run: str, user: str = ""
    ) -> None:
        """Make a version the champion, and the champion before it `previous`. The champion alias moves last.

        `expected` is the version that was champion during the evaluation. `user` is the person who approved
        the version, if any. Raises TransientError if another version is the champion now, so that the
        challenger is evaluated again.
        """
        champion = self.champion(version.name)
        if champion and champion.version == version.version:
            return
        if (champion.version if champion else None) != expected:
            current = f"version {champion.version}" if champion else "none"
            raise TransientError(
                f"the champion of {version.name} is {current} now, but version {version.version} was "
                f"evaluated against {expected or 'none'}; run again to evaluate it against the new champion"
            )
        if champion:
            self.move_alias(version.name, PREVIOUS, champion.version, reason, run, user)
        self.remove_alias(version.name, CHALLENGER, version.version)
        self.move_alias(version.name, CHAMPION, version.version, reason, run, user)


def _model_version(response: Json) -> ModelVersion:
    tags = {tag["key"]: tag["value"] for tag in response.get("tags", [])}
    return ModelVersion(response["name"], str(response["version"]), response.get("run_id", ""), tags)
