"""The registry's part of a rollback: champion and previous, each where it belongs."""

from __future__ import annotations

from contextlib import suppress

from adapters.errors import PipelineError, TransientError
from adapters.registry import CHALLENGER, CHAMPION, PREVIOUS, ROLLBACK, Registry, Version


def make_champion_again(
    registry: Registry, to: Version, expected: str | None, previous: str | None, **words: str
) -> None:
    """Point `champion` at an earlier version, and `previous` at the one that stands behind it.

    `expected` is the version that is champion until then; TransientError when another one is by now.
    `words` are the trail's why, run and by. The champion's alias moves last: when this raises, it is where
    it was, and so is `previous` unless the registry is gone.
    """
    name, aliases = to.name, registry.aliases(to.name)
    if aliases.get(CHAMPION) != expected:
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
