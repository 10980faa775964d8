"""The public application: Open Inference Protocol v2, and a plain `/predict` for people."""

from __future__ import annotations

from typing import Any

from . import v2
from .asgi import MAX_BODY, HttpError, Receive, Reply, Scope, Send, json_reply, read_body, respond
from .errors import NotServedError
from .jsontext import decode
from .repository import Repository
from .served import Served
from .shield import Answered

EXTENSIONS: list[str] = []


class App:
    """Answers requests over HTTP with what the repository serves."""

    def __init__(self, repository: Repository, max_body: int = MAX_BODY) -> None:
        self.repository = repository
        self.max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] == "http":
            await respond(scope, send, lambda: self._route(scope, receive))

    async def _route(self, scope: Scope, receive: Receive) -> Reply:
        parts = [part for part in scope["path"].split("/") if part]
        if parts[:1] == ["predict"] and len(parts) <= 2:
            _only(scope, "POST")
            return await self._predict(parts[1:], receive)
        if parts[:2] == ["v2", "models"] and len(parts) > 2:
            return await self._model(parts[2], parts[3:], scope, receive)
        page = {(): self._index, ("v2",): self._server, ("v2", "models"): self._models}.get(tuple(parts))
        if page is not None:
            _only(scope, "GET")
            return json_reply(page())
        if parts[:2] == ["v2", "health"] and parts[2:] in (["live"], ["ready"]):
            _only(scope, "GET")
            return self._health(ready=parts[2] == "ready")
        raise HttpError(404, f"there is nothing at {scope['path']}; GET / lists what there is")

    async def _predict(self, name: list[str], receive: Receive) -> Reply:
        body = await read_body(receive, self.max_body)
        model = name[0] if name else self._only_model()
        self.repository.find(model)
        return _answered(self.repository.answer(model, decode(body)))

    def _only_model(self) -> str:
        names = sorted(self.repository.served())
        if len(names) != 1:
            listed = ", ".join(f"/predict/{name}" for name in names) or "none"
            raise HttpError(404, f"/predict alone is for exactly one model; served are: {listed}")
        return names[0]

    async def _model(self, name: str, rest: list[str], scope: Scope, receive: Receive) -> Reply:
        version = rest[1] if rest[:1] == ["versions"] and len(rest) > 1 else None
        verb = rest[2:] if version else rest
        if verb == ["infer"]:
            _only(scope, "POST")
            body = await read_body(receive, self.max_body)
            self.repository.find(name)
            return _answered(self.repository.infer(name, decode(body), version))
        if verb not in ([], ["ready"]):
            raise HttpError(404, f"there is nothing at {scope['path']}; a model has /infer and /ready")
        _only(scope, "GET")
        served = self.repository.find(name)
        loaded = {one.version: one for one in (served.current, served.former) if one is not None}
        if version and version not in loaded:
            raise NotServedError(f"{name} has no version {version!r} here; served are: {', '.join(loaded)}")
        if verb:
            return json_reply({"name": name, "ready": True})
        model = loaded[version].model if version else served.model
        return json_reply(v2.metadata(model, list(loaded)))

    def _health(self, ready: bool) -> Reply:
        if not ready:
            return json_reply({"live": True})
        missing = dict(self.repository.unavailable)
        return json_reply({"ready": not missing, "unavailable": missing}, 503 if missing else 200)

    def _server(self) -> dict[str, Any]:
        return {"name": "serving", "version": "2", "extensions": EXTENSIONS}

    def _models(self) -> dict[str, Any]:
        return {"models": [_listed(served) for served in self.repository.served().values()]}

    def _index(self) -> dict[str, Any]:
        models = [
            {
                **_listed(served),
                "predict": f"/predict/{name}",
                "infer": f"/v2/models/{name}/infer",
                "metadata": f"/v2/models/{name}",
            }
            for name, served in sorted(self.repository.served().items())
        ]
        return {"models": models, "health": "/v2/health/ready", "protocol": "/v2"}


def _listed(served: Served) -> dict[str, Any]:
    return {
        "name": served.name,
        "version": served.current.version,
        "digest": served.digest,
        "phase": served.state,
    }


def _answered(answered: Answered) -> Reply:
    headers = {"x-model-version": answered.digest[:12], "x-model-digest": answered.digest}
    return Reply(answered.body, headers=headers)


def _only(scope: Scope, method: str) -> None:
    allowed = ("GET", "HEAD") if method == "GET" else (method,)
    if scope["method"] not in allowed:
        raise HttpError(
            405, f"{scope['path']} takes {method}, not {scope['method']}", {"allow": ", ".join(allowed)}
        )
