"""The model registry: MLflow 3, spoken to over its REST API.

Steps do not import mlflow: that takes a second or two in each of their processes, and half a gigabyte in
each of their images. The calls are those of https://mlflow.org/docs/latest/rest-api.html; a local
database gets a server of its own for as long as a run lasts (local_registry.py).

Aliases say what a version is: `champion` is served, `previous` was before it, `challenger` is being
tried. Each move of an alias leaves a tag on the registered model that says when, why, from and to.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from continuous_training.core.errors import TransientError, UserError

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
ROLLBACK = "rollback"
"""The `kind` of a move in the trail that went back; a promotion's has none."""

_MOVED = "moved."
_TRIES = 4
_TIMEOUT = (5, 60)
_RACED = ("IntegrityError", "UniqueViolation")
"""MLflow's words when another writer made the same row in the same moment: it is there on the next try."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version: one archive, known by its digest."""

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
                f"version {self.version} of {self.name} has no tag {key}; archive did not register it"
            )
        return self.tags[key]


class Registry:
    """The registry behind one MLflow server."""

    def __init__(self, uri: str, user: str = "", password: str = "", token: str = "") -> None:
        if not uri.startswith(("http://", "https://")):
            raise UserError(f"registry {uri!r}: give http(s)://HOST, or a local database by --state")
        self.uri = uri.rstrip("/")
        self.session = requests.Session()
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"
        elif user:
            self.session.auth = (user, password)

    def champion(self, name: str) -> ModelVersion | None:
        """Return the version that is served, or None before the first promotion."""
        return self.aliased(name, CHAMPION)

    def aliased(self, name: str, alias: str) -> ModelVersion | None:
        """Return the version behind an alias, or None."""
        answer = self._get("registered-models/alias", {"name": name, "alias": alias})
        return None if answer is None else _version(answer["model_version"])

    def find(self, name: str, digest: str) -> ModelVersion | None:
        """Return the version that was registered for this archive, or None."""
        query = f"name='{name}' and tags.archive_digest='{digest}'"
        answer = self._get("model-versions/search", {"filter": query, "max_results": "100"}) or {}
        found = sorted((_version(v) for v in answer.get("model_versions", [])), key=lambda v: int(v.version))
        return found[0] if found else None

    def versions(self, name: str = "") -> list[ModelVersion]:
        """Return every version of a model, or of all models, the oldest first."""
        query = {"max_results": "200"} | ({"filter": f"name='{name}'"} if name else {})
        found: list[ModelVersion] = []
        while True:
            answer = self._get("model-versions/search", query) or {}
            found += [_version(v) for v in answer.get("model_versions", [])]
            if not (token := answer.get("next_page_token")):
                return sorted(found, key=lambda v: (v.name, int(v.version)))
            query["page_token"] = token

    def aliases(self, name: str) -> dict[str, str]:
        """Return the version behind each alias of a model."""
        answer = self._get("registered-models/get", {"name": name}) or {"registered_model": {}}
        return {a["alias"]: str(a["version"]) for a in answer["registered_model"].get("aliases", [])}

    def trail(self, name: str) -> list[dict[str, Any]]:
        """Return the moves of a model's aliases, the oldest first: when, alias, from, to, why, run."""
        answer = self._get("registered-models/get", {"name": name}) or {"registered_model": {}}
        tags = {tag["key"]: tag["value"] for tag in answer["registered_model"].get("tags", [])}
        moves = [(key.removeprefix(_MOVED), tags[key]) for key in sorted(tags) if key.startswith(_MOVED)]
        return [{"when": when, **json.loads(move)} for when, move in moves]

    def run(self, name: str, pipeline_run: str) -> str:
        """Return the id of the MLflow run of a pipeline run, made if there is none yet."""
        experiment = self._experiment(name)
        if found := self._runs(experiment, pipeline_run):
            return found[0]
        tags = [{"key": "pipeline_run", "value": pipeline_run}]
        made = self._post(
            "runs/create",
            {"experiment_id": experiment, "run_name": pipeline_run, "start_time": _millis(), "tags": tags},
        )
        # A call whose answer was lost was made again: one of the runs stays.
        stays, *others = self._runs(experiment, pipeline_run) or [str(made["run"]["info"]["run_id"])]
        for other in others:
            self._post("runs/delete", {"run_id": other})
        return stays

    def _runs(self, experiment: str, pipeline_run: str) -> list[str]:
        """Return the ids of the MLflow runs of a pipeline run, the oldest first."""
        query = {
            "experiment_ids": [experiment],
            "filter": f"tags.pipeline_run = '{pipeline_run}'",
            "order_by": ["attributes.start_time ASC", "attributes.run_id ASC"],
            "max_results": 10,
        }
        found = self._post("runs/search", query).get("runs", [])
        return [str(run["info"]["run_id"]) for run in found]

    def run_url(self, name: str, run_id: str) -> str:
        """Return the address of a run in MLflow's user interface; empty for one that ends with a run."""
        if urlsplit(self.uri).hostname in {"127.0.0.1", "localhost"}:
            return ""
        return f"{self.uri}/#/experiments/{self._experiment(name)}/runs/{run_id}"

    def log_dataset(self, run_id: str, name: str, fingerprint: str, source: str, profile: str) -> None:
        """Tell a run which rows it is about; `profile` is a JSON text with their statistics."""
        dataset = {
            "name": name,
            # MLflow keeps 36 characters; the whole fingerprint is in the run's tags.
            "digest": fingerprint[:36],
            "source_type": "source",
            "source": json.dumps({"uri": source}),
            "profile": profile,
        }
        tags = [{"key": "mlflow.data.context", "value": "training"}]
        self._post("runs/log-inputs", {"run_id": run_id, "datasets": [{"tags": tags, "dataset": dataset}]})

    def log(
        self,
        run_id: str,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Add parameters, metrics and tags to a run; the same ones again change nothing."""
        now = _millis()
        self._post(
            "runs/log-batch",
            {
                "run_id": run_id,
                "params": [{"key": k, "value": str(v)[:6000]} for k, v in (params or {}).items()],
                "metrics": [
                    {"key": k, "value": v, "timestamp": now, "step": 0} for k, v in (metrics or {}).items()
                ],
                "tags": [{"key": k, "value": v[:5000]} for k, v in (tags or {}).items()],
            },
        )

    def log_file(self, run_id: str, path: str, data: bytes) -> None:
        """Put a file among the run's artifacts, through the server's proxy."""
        root = self._artifacts(run_id)
        self._send("PUT", f"mlflow-artifacts/artifacts/{root}/{path}", data=data)

    def read_json(self, run_id: str, path: str) -> dict[str, Any] | None:
        """Return the JSON object in a file among the run's artifacts, or None when there is none."""
        place = f"mlflow-artifacts/artifacts/{self._artifacts(run_id)}/{path}"
        return self._send("GET", place, allowed="RESOURCE_DOES_NOT_EXIST")

    def end(self, run_id: str, status: str = "FINISHED") -> None:
        """Close a run as FINISHED or FAILED."""
        self._post("runs/update", {"run_id": run_id, "status": status, "end_time": _millis()})

    def register(self, name: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
        """Return the version of an archive (`archive_digest` in `tags`), made if there is none yet."""
        found = self.find(name, tags["archive_digest"])
        if found:
            return found
        self._post("registered-models/create", {"name": name}, allowed="RESOURCE_ALREADY_EXISTS")
        source = f"mlflow-artifacts:/{self._artifacts(run_id)}/model"
        listed = [{"key": key, "value": value[:5000]} for key, value in tags.items()]
        answer = self._post(
            "model-versions/create", {"name": name, "source": source, "run_id": run_id, "tags": listed}
        )
        made = _version(answer["model_version"])
        # Two runs may make the same archive at once, or a lost answer the same call twice: the first counts.
        first = self.find(name, made.digest) or made
        if first.version != made.version:
            named = {"name": name, "version": made.version}
            self._send("DELETE", "mlflow/model-versions/delete", json=named)
        return first

    def tag(self, version: ModelVersion, key: str, value: str) -> None:
        """Put a tag on a version, replacing the one of that key."""
        named = {"name": version.name, "version": version.version}
        self._post("model-versions/set-tag", {**named, "key": key, "value": value[:5000]})

    def point(self, name: str, alias: str, version: str, why: str, run: str, **more: str) -> None:
        """Move an alias to a version and leave a trail; nothing happens when it is there already.

        `more` is kept in the trail too. The alias moves last: when this raises, it is where it was.
        """
        before = self.aliased(name, alias)
        if before and before.version == version:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        move = {
            "alias": alias,
            "from": before.version if before else None,
            "to": version,
            "why": why,
            "run": run,
            **more,
        }
        self._forget_unfinished(name, move)
        self._post(
            "registered-models/set-tag", {"name": name, "key": f"{_MOVED}{now}", "value": json.dumps(move)}
        )
        self._post("registered-models/alias", {"name": name, "alias": alias, "version": version})

    def _forget_unfinished(self, name: str, move: Mapping[str, Any]) -> None:
        """Take this very move out of the trail where someone died after telling it and before doing it."""
        told = [past for past in self.trail(name) if past["alias"] == move["alias"]]
        # The challenger's alias is also taken away, and may come to the same version twice.
        if not told or move["alias"] == CHALLENGER:
            return
        if all(told[-1][key] == move[key] for key in ("from", "to")):
            tag = {"name": name, "key": f"{_MOVED}{told[-1]['when']}"}
            self._send("DELETE", "mlflow/registered-models/delete-tag", json=tag)

    def remove_alias(self, name: str, alias: str, version: str | None = None) -> None:
        """Take an alias away, with `version` from that one alone; nothing happens when there is none."""
        found = self.aliased(name, alias)
        if found and version in (None, found.version):
            self._send("DELETE", "mlflow/registered-models/alias", json={"name": name, "alias": alias})

    def promote(self, version: ModelVersion, expected: str | None, why: str, run: str) -> None:
        """Make a version the champion, and the one before it `previous`.

        `expected` is the version that was champion when this one was judged. Raises TransientError when
        another one is by now, so that the challenger is judged again. The champion's alias moves last.
        """
        champion = self.champion(version.name)
        if champion and champion.version == version.version:
            return
        if (champion.version if champion else None) != expected:
            now = f"version {champion.version}" if champion else "none"
            raise TransientError(
                f"the champion of {version.name} is {now} by now, but version {version.version} was judged "
                f"against {expected or 'none'}; run again, and it is judged against the new one"
            )
        if champion:
            self.point(version.name, PREVIOUS, champion.version, why, run)
        self.remove_alias(version.name, CHALLENGER, version.version)
        self.point(version.name, CHAMPION, version.version, why, run)

    def _experiment(self, name: str) -> str:
        found = self._get("experiments/get-by-name", {"experiment_name": name})
        if found:
            return str(found["experiment"]["experiment_id"])
        made = self._post("experiments/create", {"name": name}, allowed="RESOURCE_ALREADY_EXISTS")
        return str(made["experiment_id"]) if made else self._experiment(name)

    def _artifacts(self, run_id: str) -> str:
        uri = str((self._get("runs/get", {"run_id": run_id}) or {})["run"]["info"]["artifact_uri"])
        if not uri.startswith("mlflow-artifacts:/"):
            raise UserError(
                f"registry {self.uri} does not proxy artifacts ({uri}); start it with --serve-artifacts, so "
                "that steps need no key to its storage"
            )
        return uri.removeprefix("mlflow-artifacts:/").lstrip("/")

    def _get(self, path: str, params: Mapping[str, str]) -> dict[str, Any] | None:
        return self._send("GET", f"mlflow/{path}", params=params, allowed="RESOURCE_DOES_NOT_EXIST")

    def _post(self, path: str, payload: Mapping[str, Any], allowed: str = "") -> dict[str, Any]:
        return self._send("POST", f"mlflow/{path}", json=payload, allowed=allowed) or {}

    def _send(self, method: str, path: str, allowed: str = "", **more: Any) -> dict[str, Any] | None:
        """Return the answer, or None for the error code `allowed`; retries what may pass."""
        url = f"{self.uri}/api/2.0/{path}"
        trouble = ""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(0.5 * 2 ** (attempt - 1))
            try:
                response = self.session.request(method, url, timeout=_TIMEOUT, **more)
            except requests.RequestException as error:
                trouble = f"cannot be reached ({type(error).__name__}: {error})"
                continue
            if response.ok:
                return self._body(response, path)
            code, message = _problem(response)
            if allowed and code == allowed:
                return None
            # An alias that was never set is INVALID_PARAMETER_VALUE on a database backend.
            if allowed == "RESOURCE_DOES_NOT_EXIST" and "alias" in message and "not found" in message.lower():
                return None
            if response.status_code in {401, 403}:
                raise UserError(
                    f"registry {self.uri} refuses the credentials ({response.status_code}); look at "
                    "MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD or MLFLOW_TRACKING_TOKEN"
                )
            raced = any(word in message for word in _RACED)
            if response.status_code < 500 and response.status_code != 429 and not raced:
                raise UserError(f"registry {self.uri}, {path}: {code or response.status_code}: {message}")
            trouble = f"answers {response.status_code} ({message[:300]})"
        raise TransientError(f"registry {self.uri} {trouble}, {_TRIES} times; is it up? Try again later")

    def _body(self, response: requests.Response, path: str) -> dict[str, Any]:
        try:
            body = response.json() if response.content else {}
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise UserError(
                f"registry {self.uri}, {path}: answers, but not as MLflow does; is the address right?"
            )
        return body


def _problem(response: requests.Response) -> tuple[str, str]:
    try:
        body = response.json()
    except ValueError:
        return "", response.text[:300]
    if not isinstance(body, dict):
        return "", response.text[:300]
    return str(body.get("error_code", "")), str(body.get("message", ""))


def _version(answer: Mapping[str, Any]) -> ModelVersion:
    tags = {tag["key"]: tag["value"] for tag in answer.get("tags", [])}
    return ModelVersion(answer["name"], str(answer["version"]), answer.get("run_id", ""), tags)


def _millis() -> int:
    return int(time.time() * 1000)
