"""What the server of a state folder serves, or will serve when it is started; looked at, never started."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.errors import UserError
from serving import daemon
from serving.client import Endpoint
from serving.running import Running


@dataclass(frozen=True)
class Serving:
    """`running` is None when no server lives; `models` are its rows, `confirmed` what a restart loads."""

    running: Running | None
    models: dict[str, dict[str, Any]]
    confirmed: dict[str, dict[str, str]]

    def digest(self, name: str) -> str | None:
        """Return the digest that answers for a name, or will after a start; None for none."""
        if self.running:
            return self.models.get(name, {}).get("digest")
        return self.confirmed.get(name, {}).get("digest")

    def on_trial(self, name: str) -> bool:
        """Tell whether a version is on probation: a rollout is under way."""
        return self.models.get(name, {}).get("phase") == "probation"

    def url(self, name: str) -> str | None:
        """Return the endpoint's address when it answers."""
        return f"{self.running.url}/predict/{name}" if self.running and self.digest(name) else None

    def digests(self) -> set[str]:
        """Return every digest that is served, stands ready behind one that is, or will be loaded again."""
        rows = [*self.models.values(), *self.confirmed.values()]
        return {row[key] for row in rows for key in ("digest", "former") if row.get(key)}

    def archives(self) -> set[Path]:
        """Return every archive that a server has loaded or will load again."""
        rows = [*self.models.values(), *self.confirmed.values()]
        return {Path(row["archive"]).resolve() for row in rows if row.get("archive")}


def look(state: Path) -> Serving:
    """Return what is served; UserError when what a restart would load cannot be read."""
    running = daemon.status(state)
    rows = Endpoint(running).models() if running else []
    return Serving(running, {row["name"]: row for row in rows}, _confirmed(state / "serving" / "models.json"))


def _confirmed(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: {key: str(row[key]) for key in ("archive", "digest")} for name, row in found.items()}
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({error!r}), so it is unknown what is served after a restart; "
            "the next rollout writes it anew"
        ) from None
