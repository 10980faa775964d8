"""Distinguish a workload that never had a champion from one whose champion is lost."""

from __future__ import annotations

from components.run_context import RunContext
from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.core.errors import UserError
from continuous_training.evaluation.gate import Check, note
from continuous_training.operations.champion_history import read_champion_history
from continuous_training.operations.earlier_champions import earlier_champions


def check_absent_champion(context: RunContext) -> None:
    """Check that a workload without a champion never had one, or that a person gave its last champion up.

    Raises UserError otherwise: with the floors alone, a worse model could replace the served one.
    """
    name, registry = context.workload.name, context.registry
    last = _last_champion(context)
    if last is None or last == registry.retired_champion(name):
        return
    if not registry.versions(name):
        raise UserError(
            f"the registry {registry.uri} has no version of {name}, but {_origin(context, last)}. The "
            "registry was lost, or it is another one. No model is evaluated, and the served version stays. "
            "Restore the registry. To start over instead, remove "
            f"{context.history.prefix} from the object store"
        )
    restore = ""
    if candidates := earlier_champions(registry, name):
        number = candidates[0].version
        command = context.next_command("pipelines.rollback", "--to", number)
        restore = f"To make version {number} the champion again:\n{command}\n"
    raise UserError(
        f"{name} has no champion in the registry {registry.uri}, but version {last} was its champion: the "
        "alias champion was removed, or the version was deleted. No model is evaluated, because the floors "
        f"alone could let a worse model replace the served one. {restore}To give version {last} up, so that "
        "the floors alone decide on the next model: set the tag retired_champion of the registered model "
        f"{name} to {last}"
    )


def retirement_notes(context: RunContext) -> list[Check]:
    """Return the note for a decision without a champion because a person gave the last one up."""
    retired = context.registry.retired_champion(context.workload.name)
    if retired is None:
        return []
    text = f"version {retired} was given up as champion, so there is no champion to compare with"
    return [note("retired champion", text)]


def _last_champion(context: RunContext) -> str | None:
    """Return the number of the last champion, or None if there never was one.

    The first move in the trail proves nothing, because a run that died may have recorded it before the alias
    moved. A later move, a deleted version, or the record of a run that promoted a version is a proof.
    """
    name, registry = context.workload.name, context.registry
    trail = registry.alias_history(name)
    promoted = [record.version for record in context.history.runs() if record.verdict == "promoted"]
    versions = {version.version for version in registry.versions(name)}
    moves = [move for move in trail if move.alias == CHAMPION]
    if not promoted and all(move.from_version is None and move.to_version in versions for move in moves):
        return None
    completed = read_champion_history(trail, None).moves
    return next((move.to_version for move in reversed(completed) if move.to_version), None) or promoted[-1]


def _origin(context: RunContext, last: str) -> str:
    """Describe how it is known that there was a champion."""
    promoted = [record for record in context.history.runs() if record.verdict == "promoted"]
    if not promoted:
        return f"version {last} was its champion"
    run = promoted[-1]
    version = f"version {run.version} ({str(run.digest)[:12]})"
    return f"according to the object store, run {run.run} promoted {version}"
