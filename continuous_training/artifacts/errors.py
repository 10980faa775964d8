"""The errors of damaged artifacts."""

from __future__ import annotations

from continuous_training.core.errors import UserError


class ArtifactError(UserError):
    """A stored artifact is missing, damaged, or of an unknown format. The message names file and field."""


class ArchiveError(ArtifactError):
    """An archive or a bundle is invalid. Nothing was written or extracted."""
