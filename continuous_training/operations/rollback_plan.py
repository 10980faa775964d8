"""Which version a rollback goes to, and why it may not: decided before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.adapters.model_registry import CHAMPION, ROLLBACK, ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.errors import TransientError, UserError
from continuous_training.core.settings import Settings
from continuous_training.operations.champion_history import Line, Move, read_line
from continuous_training.operations.lineage import PRUNED
from continuous_training.operations.serving_state import Serving
from continuous_training.operations.workspace import next_command


@dataclass(frozen=True)
class Plan:
    """From which version to which; `previous` then stands behind it, and `left` are not come back to.

    `source` and `to` are the same when it is the endpoint alone that has to be put right. `begun` is the
    move of a rollback that was cut off before its end: then that one is finished.
    """

    workload: str
    source: ModelVersion | None
    to: ModelVersion
    previous: str | None
    left: tuple[ModelVersion, ...]
    begun: Move | None = None


def make_plan(
    registry: Registry, records: RunHistory, name: str, to: str | None, serving: Serving, settings: Settings
) -> Plan:
    """Return the plan; UserError when there is nothing to go back to, or `to` is no former champion."""
    versions = {version.version: version for version in registry.versions(name)}
    line = read_line(registry.trail(name), registry.aliases(name).get(CHAMPION))
    begun = _begun(line, records)
    if begun and to in (None, begun.to):
        wanted, source = str(begun.to), begun.source
    elif to:
        _check(name, to, line, versions, settings)
        wanted, source, begun = to, line.champion, None
    else:
        wanted, source = _before(name, line, settings), line.champion
    if wanted not in versions:
        raise UserError(
            f"version {wanted} of {name} was champion, but the registry does not hold it any more"
        )
    plan = Plan(
        workload=name,
        source=versions.get(source or ""),
        to=versions[wanted],
        previous=line.behind(wanted),
        left=tuple(versions[number] for number in line.left_behind(wanted) if number in versions),
        begun=begun,
    )
    _check_endpoint(plan, to, serving, settings)
    return plan


def _begun(line: Line, records: RunHistory) -> Move | None:
    """Return the last move when it is a rollback that has not come to its end: its record is written last."""
    last = line.last()
    return last if last and last.kind == ROLLBACK and last.run and records.run(last.run) is None else None


def _before(name: str, line: Line, settings: Settings) -> str:
    """Return the version that stands behind the champion."""
    history = next_command("pipelines.history", settings, "--workload", name)
    if line.champion is None:
        how = "its alias was taken away; say where to go with --to" if line.moves else "nothing was promoted"
        raise UserError(f"{name} has no champion ({how}). See: {history}")
    if line.before is None:
        gone = line.left_behind(line.champion)
        more = f" (rolled back before: {', '.join(gone)}; --to serves one of them again)" if gone else ""
        raise UserError(
            f"there is nothing to go back to: no champion of {name} stands behind version {line.champion}"
            f"{more}. See: {history}"
        )
    return line.before


def _check(name: str, to: str, line: Line, versions: dict[str, ModelVersion], settings: Settings) -> None:
    """Return when `to` may be gone back to: it was the champion once."""
    if to in line.promoted():
        return
    former = ", ".join(sorted(line.promoted(), key=int)) or "none"
    if to not in versions:
        raise UserError(f"{name} has no version {to!r}; former champions and the present one: {former}")
    raise UserError(
        f"version {to} of {name} was never promoted, so nothing says that it may be served; former "
        f"champions and the present one: {former}. "
        f"See: {next_command('pipelines.history', settings, '--workload', name)}"
    )


def _check_endpoint(plan: Plan, asked: str | None, serving: Serving, settings: Settings) -> None:
    """Return when it is clear what to go back from.

    It is not while another version is on trial, or when the endpoint serves another one than the champion:
    then a rollout was cut off, and going back from the registry's champion could be one version too many.
    """
    name, served = plan.workload, serving.digest(plan.workload)
    if serving.on_trial(name) and served != plan.to.digest:
        raise TransientError(
            f"a rollout of {name} is under way: version {str(served)[:12]} is on trial. Try again in a minute"
        )
    if asked or plan.begun or plan.source is None or served in (None, plan.source.digest):
        return
    if serving.on_trial(name):
        # The same rollback was begun, and cut off before the registry moved.
        return
    mend = next_command("pipelines.rollback", settings, "--workload", name, "--to", plan.source.version)
    raise UserError(
        f"endpoint and registry of {name} disagree: the endpoint serves {str(served)[:12]}, and the champion "
        f"is version {plan.source.version} ({plan.source.digest[:12]}). Say which one with --to; this serves "
        f"the champion: {mend}"
    )


def check_archive(plan: Plan, store: ObjectStore, serving: Serving) -> None:
    """Return when the version's archive is there; UserError that says what became of it otherwise."""
    to, source = plan.to, plan.source
    if store.size(to.archive) is not None:
        return
    gone = "was removed by pipelines.prune" if PRUNED in to.tags else "is missing"
    champion = f"version {source.version}" if source else "none"
    served = serving.digest(plan.workload)
    endpoint = f"the endpoint serves {served[:12] if served else 'nothing'}"
    raise UserError(
        f"version {to.version} of {plan.workload} cannot be served: its archive {to.archive} {gone}. Nothing "
        f"was changed: the registry's champion is {champion}, and "
        f"{endpoint if serving.alive else 'no server runs'}. Another version: --to"
    )
