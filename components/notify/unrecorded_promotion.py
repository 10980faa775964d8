"""A promotion that a run completed and could not record, because the object store was lost in between."""

from __future__ import annotations

from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.errors import PipelineError
from continuous_training.core.messages import report
from continuous_training.core.settings import Settings

REASON = "the version of this run became the champion; the step ended before it recorded the reasons"


def unrecorded_promotion(workload: str, run_id: str, settings: Settings) -> RunRecord | None:
    """Return the record of the run if the registry's champion is its version, otherwise None.

    The alias moves at the end of a rollout, so the endpoint serves this version, or does so after notify. A
    registry that cannot be read is reported: the result of the run is then not known to be a promotion.
    """
    if settings.target == "local":
        # A local run without a store has no registry either: both are in the state directory.
        return None
    # Start-up time: only a run without a record needs the registry.
    from continuous_training.adapters.local_registry import open_registry

    try:
        with open_registry(*settings.registry_access) as registry:
            champion = registry.champion(workload)
    except PipelineError as error:
        report(f"warning: run {run_id} may have promoted its model, but the registry cannot be read: {error}")
        return None
    if champion is None or champion.tags.get("pipeline_run") != run_id:
        return None
    return RunRecord(
        run=run_id,
        verdict="promoted",
        reasons=(REASON,),
        input_digest=champion.tags.get("recipe"),
        version=champion.version,
        digest=champion.digest,
    )
