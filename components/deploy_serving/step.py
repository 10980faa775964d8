"""deploy-serving: the archived challenger onto the endpoint, and the champion's alias last."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from components.archive.step import Archived, read
from components.deploy_serving.reevaluate import judge_again
from components.evaluate.tracking import REPORT
from continuous_training.adapters.model_registry import CHALLENGER, ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.errors import UserError
from continuous_training.core.files import to_json, write_text
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from continuous_training.rollout.alias_mirror import mirror_aliases
from continuous_training.rollout.engine import roll_out
from continuous_training.rollout.target import DeploymentTarget


@dataclass(frozen=True)
class Deployed:
    """What is served now, and where it answers.

    Not `promoted`: it was judged again and lost against the version that is told here.
    """

    workload: str
    version: str
    digest: str
    endpoint: str
    promoted: bool = True


def run(
    archived: Path,
    output: Path,
    registry: Registry,
    store: ObjectStore,
    target: DeploymentTarget,
    progress: Progress = report,
    data: Path | None = None,
) -> Deployed:
    """Roll the archived version out and make it the champion; writes `output`, a JSON file.

    Where another version became champion since the gate let this one through, it is judged again, against
    that one, on the holdout of `data`; a second report then stands beside `output`. Doing it again changes
    nothing. Raises RolloutReverted when the version does not prove itself (the former one answers again), and
    without `data` TransientError when another version became champion.
    """
    new = read(archived)
    version = registry.find(new.workload, new.digest)
    if version is None:
        raise UserError(
            f"{archived} holds {new.workload} {new.digest[:12]}, which is not in the registry "
            f"{registry.uri}; run archive again, with the same --state"
        )
    with target.rollout_lock(new.workload, progress):
        champion = registry.champion(new.workload)
        if data and _outrun(new, version, champion):
            progress(f"version {champion.version if champion else 'none'} is champion by now: judging again")
            new, report, promoted = judge_again(new, version, data, registry, store, progress)
            write_text(output.with_name(REPORT), report)
            if not promoted:
                registry.remove_alias(new.workload, CHALLENGER, version.version)
                return _tell(output, new, champion, target, False, progress)
        _roll_out(new, version, registry, store, target, progress)
    _record(new, target.url(new.workload), registry, store)
    return _tell(output, new, version, target, True, progress)


def _outrun(new: Archived, version: ModelVersion, champion: ModelVersion | None) -> bool:
    """Whether another version became champion since this one was judged."""
    now = champion.version if champion else None
    return now not in (new.judged_against, version.version)


def _roll_out(
    new: Archived,
    version: ModelVersion,
    registry: Registry,
    store: ObjectStore,
    target: DeploymentTarget,
    progress: Progress,
) -> None:
    def make_champion() -> None:
        registry.promote(version, new.judged_against, "; ".join(new.reasons), new.run)

    with tempfile.TemporaryDirectory(prefix="deploy-") as folder:
        archive = store.fetch(new.key, Path(folder))
        roll_out(target, new.workload, archive, new.digest, make_champion, progress)
    mirror_aliases(registry, store, new.workload, new.run)


def _tell(
    output: Path,
    new: Archived,
    served: ModelVersion | None,
    target: DeploymentTarget,
    promoted: bool,
    progress: Progress,
) -> Deployed:
    version, digest = (served.version, served.digest) if served else ("", "")
    deployed = Deployed(new.workload, version, digest, target.url(new.workload), promoted)
    write_text(output, to_json(vars(deployed)))
    if promoted:
        progress(f"{new.workload} version {version} answers at {deployed.endpoint}")
    else:
        progress("rejected: " + "; ".join(new.reasons))
    return deployed


def _record(new: Archived, endpoint: str, registry: Registry, store: ObjectStore) -> None:
    """Record and settle the promotion."""
    record = {
        "verdict": "promoted",
        "reasons": new.reasons,
        "metrics": new.metrics,
        "champion": new.judged_against and {"version": new.judged_against},
        "recipe": new.recipe,
        "registry": new.registry,
        "version": new.version,
        "digest": new.digest,
        "endpoint": endpoint,
    }
    records = RunHistory(store, new.workload)
    records.write_run(new.run, record)
    records.settle(new.recipe, {"run": new.run, **record})
    tags = {"served_version": new.version, "endpoint": endpoint}
    registry.log(registry.run(new.workload, new.run), tags=tags)
