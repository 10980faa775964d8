"""The input digest of version 0.1, which covered only the code in the workload's folder."""

from __future__ import annotations

from components.input_digest import relevant_parameters
from continuous_training.artifacts.run_inputs import RunInputs
from continuous_training.core.digest import code_digest, digest_of
from workloads import discovery
from workloads.contract import Values, Workload

_PARAMETERS = {"test_size", "seed"}
"""The common run parameters that were part of the digest."""
_RULE = (
    *("metric", "floor", "margin", "superiority", "minimum_rows", "slice_floor", "slice_rows", "confidence"),
    *("guards", "latency_ms", "latency_ratio", "size_mb", "size_ratio"),
)
"""The fields that the promotion rule had."""
_TRAINING_VERSION = 1


def former_input_digest(workload: Workload, values: Values, inputs: RunInputs) -> str | None:
    """Return the digest that version 0.1 gave to these inputs.

    None if that version cannot have processed them: a parameter or a condition of the rule that it did not
    have is set, or the library has another training version.
    """
    rule = workload.rule_of(values).to_json()
    names = {parameter.name for parameter in workload.own_parameters} | _PARAMETERS
    defaults = {parameter.name: parameter.default for parameter in workload.parameters()}
    relevant = relevant_parameters(values)
    added = [name for name, value in relevant.items() if name not in names and value != defaults[name]]
    if added or set(inputs.rule) - set(_RULE) or inputs.training_version != _TRAINING_VERSION:
        return None
    return digest_of(
        {
            "workload": workload.name,
            "data": inputs.fingerprint,
            "parameters": {name: value for name, value in relevant.items() if name in names},
            "rule": {name: rule[name] for name in _RULE},
            "code": code_digest(discovery.folder_of(workload)),
        }
    )
