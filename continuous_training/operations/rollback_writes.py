"""What a rollback writes: first the registry's aliases, then the records; each of them again without harm."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from continuous_training.adapters.model_registry import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    ROLLBACK,
    ModelVersion,
    Registry,
)
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.errors import PipelineError, TransientError

WITHDRAWN = "promoted (and since rolled back)"
_SERVED = ("version", "digest", "endpoint")


def make_champion_again(
    registry: Registry, to: ModelVersion, expected: str | None, previous: str | None, **words: str
) -> None:
    """Point `champion` at an earlier version, and `previous` at the one that stands behind it.

    `expected` is the version that is champion until then; TransientError when another one is by now.
    `words` are the trail's why, run and by. The champion's alias moves last: when this raises, it is where
    it was, and so is `previous` unless the registry is gone.
    """
    name, aliases = to.name, registry.aliases(to.name)
    if aliases.get(CHAMPION) not in (expected, to.version):
        now = f"version {aliases[CHAMPION]}" if CHAMPION in aliases else "none"
        raise TransientError(
            f"the champion of {name} is {now} by now, not {expected or 'none'}; see what is served "
            f"(python -m pipelines.status --workload {name}) and try again"
        )
    try:
        _put(registry, name, PREVIOUS, previous, words)
        _put(registry, name, CHAMPION, to.version, words)
    except BaseException:
        with suppress(PipelineError):
            _put(registry, name, PREVIOUS, aliases.get(PREVIOUS), words | {"why": "the rollback failed"})
        raise
    if aliases.get(CHALLENGER) == to.version:
        with suppress(PipelineError):
            registry.remove_alias(name, CHALLENGER)


def _put(registry: Registry, name: str, alias: str, version: str | None, words: dict[str, str]) -> None:
    if version is None:
        registry.remove_alias(name, alias)
    else:
        registry.point(name, alias, version, words["why"], words["run"], by=words["by"], kind=ROLLBACK)


def remember(
    records: RunHistory, left: tuple[ModelVersion, ...], to: ModelVersion, run: str, record: dict[str, Any]
) -> None:
    """Write what became of each version's recipe, and last the rollback among the runs: then it is done.

    The recipe of a version that was left behind stays judged, so that no run repeats it on the same data;
    it names no version as served any more.
    """
    for version in left:
        _withdraw(records, version, run)
    _restore(records, to)
    records.write_run(run, record)


def _withdraw(records: RunHistory, version: ModelVersion, run: str) -> None:
    recipe = version.tags["recipe"]
    judged = records.judged(recipe) or {
        "run": version.tags["pipeline_run"],
        "recipe": recipe,
        "version": version.version,
        "digest": version.digest,
    }
    if "withdrawn" in judged:
        return
    served = {key: judged.pop(key) for key in _SERVED if key in judged}
    records.settle(recipe, {**judged, "verdict": WITHDRAWN, "withdrawn": {"run": run, **served}})


def _restore(records: RunHistory, version: ModelVersion) -> None:
    """Remember that the version's recipe is served again; nothing happens when it was not withdrawn."""
    judged = records.judged(version.tags["recipe"])
    if judged and "withdrawn" in judged:
        served = judged.pop("withdrawn")
        kept = {key: served[key] for key in _SERVED if key in served}
        records.settle(version.tags["recipe"], {**judged, **kept, "verdict": "promoted"})
