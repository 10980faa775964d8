"""The modules that are mutated, and the tests that must notice it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Modules, and tests of their behaviour, the fastest first, with options of pytest that select them."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


_LIBRARY = "continuous_training"
_TESTS = "tests/continuous_training"
GROUPS = {
    "gate": Group(
        (f"{_LIBRARY}/evaluation/gate.py",),
        (f"{_TESTS}/evaluation/test_gate.py", f"{_TESTS}/evaluation/test_budgets.py"),
    ),
    "split and fingerprint": Group(
        ("components/prep_data/row_fingerprint.py",),
        ("tests/components/test_row_fingerprint.py",),
    ),
    "digests": Group((f"{_LIBRARY}/core/digest.py",), (f"{_TESTS}/core/test_digest.py",)),
    "input digest": Group(
        (
            "components/input_digest.py",
            "components/prep_data/earlier_run.py",
            f"{_LIBRARY}/artifacts/run_inputs.py",
        ),
        ("tests/components/test_unchanged_inputs.py",),
    ),
    "rollout order": Group((f"{_LIBRARY}/rollout/engine.py",), (f"{_TESTS}/rollout/test_engine.py",)),
    "alias order": Group(
        (f"{_LIBRARY}/adapters/alias_history.py",),
        (f"{_TESTS}/adapters/test_model_registry.py", "-k", "SQLite"),
    ),
    "prune": Group(
        (f"{_LIBRARY}/operations/prune.py", f"{_LIBRARY}/operations/prune_selection.py"),
        ("tests/pipelines/test_prune_selection.py", "tests/pipelines/test_prune.py"),
    ),
    "cron": Group(
        (f"{_LIBRARY}/kubeflow/schedules/cron.py", f"{_LIBRARY}/kubeflow/schedules/cron_fields.py"),
        (f"{_TESTS}/kubeflow/test_cron.py",),
    ),
    "limits": Group(
        (f"{_LIBRARY}/serving/http/connection_limits.py",), (f"{_TESTS}/serving/test_limits.py",)
    ),
}
