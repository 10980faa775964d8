"""Which version a rollback goes to, and why it may not: decided before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.errors import TransientError, UserError
from adapters.object_store import ObjectStore
from adapters.registry import CHAMPION, Registry, Version
from components.settings import Settings

from .line import Line, read_line
from .prune import PRUNED
from .served import Serving
from .verbs import again


@dataclass(frozen=True)
class Plan:
    """From which version to which; `passed` are those that are left behind, and not come back to.

    `source` and `to` are the same when it is the endpoint alone that has to be put right.
    """

    workload: str
    source: Version | None
    to: Version
    previous: str | None
    passed: tuple[Version, ...]


def make_plan(registry: Registry, name: str, to: str | None, settings: Settings) -> Plan:
    """Return the plan; UserError when there is nothing to go back to, or `to` is no former champion."""
    versions = {version.version: version for version in registry.versions(name)}
    line = read_line(registry.trail(name), registry.aliases(name).get(CHAMPION))
    wanted = to or _before(name, line, settings)
    if to:
        _check(name, to, line, versions, settings)
    if wanted not in versions:
        raise UserError(
            f"version {wanted} of {name} was champion, but the registry does not hold it any more"
        )
    target = versions[wanted]
    return Plan(
        workload=name,
        source=versions.get(line.champion or ""),
        to=target,
        previous=line.behind(wanted),
        passed=tuple(versions[number] for number in line.passed(wanted) if number in versions),
    )


def _before(name: str, line: Line, settings: Settings) -> str:
    """Return the version that stands behind the champion."""
    history = again("pipelines.history", settings, "--workload", name)
    if line.champion is None:
        how = "its alias was taken away; say where to go with --to" if line.moves else "nothing was promoted"
        raise UserError(f"{name} has no champion ({how}). See: {history}")
    if line.before is None:
        gone = sorted(line.promoted() - set(line.way), key=int)
        more = f" (rolled back before: {', '.join(gone)}; --to serves one of them again)" if gone else ""
        raise UserError(
            f"there is nothing to go back to: no champion of {name} stands behind version {line.champion}"
            f"{more}. See: {history}"
        )
    return line.before


def _check(name: str, to: str, line: Line, versions: dict[str, Version], settings: Settings) -> None:
    """Return when `to` may be gone back to: it was the champion once."""
    if to in line.promoted():
        return
    former = ", ".join(sorted(line.promoted(), key=int)) or "none"
    if to not in versions:
        raise UserError(f"{name} has no version {to!r}; former champions and the present one: {former}")
    raise UserError(
        f"version {to} of {name} was never promoted, so nothing says that it may be served; former "
        f"champions and the present one: {former}. "
        f"See: {again('pipelines.history', settings, '--workload', name)}"
    )


def check_endpoint(plan: Plan, asked: str | None, serving: Serving, settings: Settings) -> None:
    """Return when the endpoint serves the champion, or nothing, or the version was asked for by number.

    Otherwise a rollout or a rollback was cut off, and going back from the registry's champion could be
    one version too many.
    """
    name, served = plan.workload, serving.digest(plan.workload)
    if serving.on_trial(name):
        raise TransientError(
            f"a rollout of {name} is under way: version {str(served)[:12]} is on trial. Try again in a minute"
        )
    if asked or plan.source is None or served in (None, plan.source.digest):
        return
    mend = again("pipelines.rollback", settings, "--workload", name, "--to", plan.source.version)
    raise UserError(
        f"endpoint and registry of {name} disagree: the endpoint serves {served[:12]}, and the champion is "
        f"version {plan.source.version} ({plan.source.digest[:12]}). Say which one with --to; this serves "
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
        f"{endpoint if serving.running else 'no server runs'}. Another version: --to"
    )
