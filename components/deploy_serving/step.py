"""deploy-serving: the archived challenger onto the endpoint, and the champion's alias last."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from adapters.errors import UserError
from adapters.object_store import ObjectStore
from adapters.records import Records
from adapters.registry import Registry
from components.archive.step import read
from components.files import to_json, write_text
from workloads.contract import Progress

from .mirror import mirror_aliases
from .rollout import roll_out
from .target import Target


@dataclass(frozen=True)
class Deployed:
    """What is served now, and where it answers."""

    workload: str
    version: str
    digest: str
    endpoint: str


def run(
    archived: Path,
    output: Path,
    registry: Registry,
    store: ObjectStore,
    target: Target,
    progress: Progress = print,
) -> Deployed:
    """Roll the archived version out and make it the champion; writes `output`, a JSON file.

    Doing it again changes nothing. Raises RolledBack when the version does not prove itself (the former
    one answers again), and TransientError when another version became champion meanwhile.
    """
    new = read(archived)
    version = registry.find(new.workload, new.digest)
    if version is None:
        raise UserError(
            f"{archived} holds {new.workload} {new.digest[:12]}, which is not in the registry "
            f"{registry.uri}; run archive again, with the same --state"
        )

    def make_champion() -> None:
        registry.promote(version, new.judged_against, "; ".join(new.reasons), new.run)

    with tempfile.TemporaryDirectory(prefix="deploy-") as folder:
        archive = store.fetch(new.key, Path(folder))
        roll_out(target, new.workload, archive, new.digest, make_champion, progress)
    mirror_aliases(registry, store, new.workload, new.run)
    deployed = Deployed(new.workload, new.version, new.digest, target.url(new.workload))
    record = {
        "verdict": "promoted",
        "reasons": new.reasons,
        "metrics": new.metrics,
        "champion": new.judged_against and {"version": new.judged_against},
        "recipe": new.recipe,
        "version": new.version,
        "digest": new.digest,
        "endpoint": deployed.endpoint,
    }
    records = Records(store, new.workload)
    records.write_run(new.run, record)
    records.settle(new.recipe, {"run": new.run, **record})
    tags = {"served_version": new.version, "endpoint": deployed.endpoint}
    registry.log(registry.run(new.workload, new.run), tags=tags)
    write_text(output, to_json(vars(deployed)))
    progress(f"{new.workload} version {new.version} answers at {deployed.endpoint}")
    return deployed
