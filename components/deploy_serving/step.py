"""The deploy-serving step: roll out the archived challenger, then move the champion alias."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from components.evaluate.tracking import REPORT
from continuous_training.adapters.model_registry import CHALLENGER, ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.archived_model import ArchivedModel
from continuous_training.artifacts.checksums import verify_checksums
from continuous_training.core.errors import UserError
from continuous_training.core.files import to_json, write_text
from continuous_training.core.json_object import Json
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from continuous_training.rollout.target_interface import DeploymentTarget

from .promotion import Services, champion_changed, record_result, roll_out_version
from .waiting import replace_waiting_versions, wait_for_approval


@dataclass(frozen=True)
class DeployedModel:
    """The version that is served after the step, and the address of its endpoint.

    If not `promoted`, the archived version was rejected by a second evaluation or waits for approval, and
    this is the champion. The fields are empty without a champion.
    """

    workload: str
    version: str
    digest: str
    endpoint: str
    promoted: bool = True
    waiting: bool = False

    @property
    def verdict(self) -> str:
        """The verdict on the archived version."""
        if self.waiting:
            return "waiting"
        return "promoted" if self.promoted else "rejected"

    def to_json(self) -> Json:
        """Return the content of the step's output file. Only a version that waits has the field `waiting`."""
        return {name: value for name, value in asdict(self).items() if name != "waiting" or value}


def run(
    archived: Path,
    output: Path,
    registry: Registry,
    store: ObjectStore,
    target: DeploymentTarget,
    progress: Progress = report,
    data: Path | None = None,
    starter: str = "",
    status_command: str = "",
) -> DeployedModel:
    """Roll out the archived version, make it the champion and write `output`, a JSON file.

    A version that needs approval is not rolled out: it waits. `starter` is the person who started the run.
    `status_command` shows a person how to correct an endpoint that does not serve the champion.
    If another version became the champion after the evaluation, the archived version is evaluated again,
    against that champion and on the holdout of `data`. The second report is written to the folder of
    `output`. The step is idempotent.

    Raises RolloutReverted if the version fails its rollout and the previous version was verified to answer.
    Raises TransientError if another version became the champion and there is no `data`.
    """
    verify_checksums(archived, "archive")
    model = ArchivedModel.read(archived)
    version = registry.find(model.workload, model.digest)
    if version is None:
        raise UserError(
            f"{archived} contains {model.workload} {model.digest[:12]}, which is not in the registry "
            f"{registry.uri}; run archive again, with the same --state"
        )
    services = Services(registry, store, target, progress, status_command)
    with target.rollout_lock(model.workload, progress):
        champion = registry.champion(model.workload)
        if model.approval_days is not None and (champion is None or champion.version != version.version):
            record = wait_for_approval(model, model.approval_days, version, starter, services, data)
            progress(f"{record.verdict}: {record.reasons[0]}")
            waiting = record.verdict == "waiting"
            return _write_output(output, model, champion, target, promoted=False, waiting=waiting)
        if data and champion_changed(model, version, champion):
            current = f"version {champion.version}" if champion else "no version"
            progress(f"{current} is the champion now: evaluating again")
            # Start-up time: evaluate's libraries are needed only if the champion was replaced.
            from components.deploy_serving.reevaluate import reevaluate

            result = reevaluate(model, version, data, registry, store, progress)
            model = result.archived
            write_text(output.with_name(REPORT), result.report)
            if not result.promoted:
                registry.remove_alias(model.workload, CHALLENGER, version.version)
                deployed = _write_output(output, model, champion, target, promoted=False)
                progress("rejected: " + "; ".join(model.reasons))
                return deployed
        roll_out_version(model, version, services, archived)
        replace_waiting_versions(version, model.run, services)
    record_result(model, "promoted", registry, store, target.url(model.workload))
    deployed = _write_output(output, model, version, target, promoted=True)
    progress(f"{model.workload} version {deployed.version} is served at {deployed.endpoint}")
    return deployed


def _write_output(
    output: Path,
    model: ArchivedModel,
    served: ModelVersion | None,
    target: DeploymentTarget,
    *,
    promoted: bool,
    waiting: bool = False,
) -> DeployedModel:
    """Write the output file for the version that is served."""
    version, digest = (served.version, served.digest) if served else ("", "")
    # The local target would start a server to get its address.
    endpoint = "" if waiting and served is None else target.url(model.workload)
    deployed = DeployedModel(model.workload, version, digest, endpoint, promoted, waiting)
    write_text(output, to_json(deployed.to_json()))
    return deployed
