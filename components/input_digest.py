"""The inputs of a run, whose digest decides whether an earlier run has processed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from components.code_digests import module_digests
from continuous_training.artifacts.run_inputs import RunInputs
from continuous_training.core.run_parameters import APPROVAL_PARAMETERS, SOURCE_PARAMETERS
from continuous_training.core.training_version import TRAINING_VERSION
from continuous_training.evaluation.promotion_rule import PromotionRule, is_gate_parameter
from workloads.contract import Values, Workload
from workloads.splits import SPLIT_PARAMETERS

_EXCLUDED = {*SOURCE_PARAMETERS, *APPROVAL_PARAMETERS, "as_of", "force", "bad_rows", "accept"}
"""The origin and the time of the rows do not matter, because the fingerprint covers their content.
`force` and `accept` belong to one run: a later run on the same inputs has nothing to do."""


def run_inputs(
    workload: Workload, values: Values, fingerprint: str, packages: Mapping[str, str]
) -> RunInputs:
    """Return the inputs of a run with these values on the rows with this fingerprint.

    `packages` are the locked versions of the packages that the train step installs.
    """
    rule = workload.rule_of(values)
    defaults = {field.name: _default(field) for field in fields(PromotionRule)}
    return RunInputs(
        workload=workload.name,
        fingerprint=fingerprint,
        parameters=relevant_parameters(values),
        # With its default, a field that a later version adds does not change the digest.
        rule={name: value for name, value in rule.to_json().items() if value != defaults[name]},
        modules=module_digests(workload),
        packages=dict(packages),
        training_version=TRAINING_VERSION,
    )


def _default(field: Any) -> Any:
    return field.default_factory() if callable(field.default_factory) else field.default


def relevant_parameters(values: Values) -> Values:
    """Return the run parameters that are part of the inputs. The fields of the rule are separate."""
    relevant = {n: v for n, v in values.items() if n not in _EXCLUDED and not is_gate_parameter(n)}
    # Without a split by group or time, the digest is the same as that of earlier versions.
    return {n: v for n, v in relevant.items() if v or n not in SPLIT_PARAMETERS}
