"""Whether a transferred version needs approval: the setting of the workload, or of the target's run."""

from __future__ import annotations

from collections.abc import Mapping

from continuous_training.core.run_parameters import APPROVAL_PARAMETERS, Value
from workloads.contract import Workload


def with_target_approval(
    parameters: Mapping[str, Value], workload: Workload, from_target: bool
) -> dict[str, Value]:
    """Return run parameters with the approval that the target requires.

    `from_target` says whether they are those of a run in the target. The approval of a run in the source
    does not apply.
    """
    if from_target and parameters.get("approval"):
        return dict(parameters)
    defaults = workload.parse({})
    others = {name: value for name, value in parameters.items() if name not in APPROVAL_PARAMETERS}
    return {**others, **{name: defaults[name] for name in APPROVAL_PARAMETERS}}
