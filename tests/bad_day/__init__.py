"""The bad-day suite: kills and damaged files, each followed by a run, a rollback and requests."""
