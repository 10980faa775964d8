"""Upload compiled pipelines. A version is named after the content of its file, so uploads are idempotent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from continuous_training.core.errors import TransientError
from continuous_training.kubeflow.api import Kubeflow


@dataclass(frozen=True)
class Compiled:
    """A compiled pipeline: its text, and the version that follows from it."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """The sha256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def version(self) -> str:
        """`NAME-` and the first twelve digits of the digest."""
        return f"{self.name}-{self.digest[:12]}"


@dataclass(frozen=True)
class Uploaded:
    """A pipeline's version on the server; `new` tells whether this upload brought it."""

    compiled: Compiled
    pipeline_id: str
    version_id: str
    new: bool


def upload(kubeflow: Kubeflow, compiled: Compiled, description: str) -> Uploaded:
    """Return the version with this content, uploaded when it is not there."""
    pipeline = kubeflow.pipeline(compiled.name) or kubeflow.create_pipeline(compiled.name, description)
    found, new = find_version(kubeflow, pipeline["pipeline_id"], compiled.version), False
    if found is None:
        # The pipeline is made without a version first: uploaded in one, it would get one of its own name.
        made = kubeflow.upload_version(
            pipeline["pipeline_id"], compiled.version, f"sha256:{compiled.digest}", compiled.text
        )
        found = made["pipeline_version_id"] if made else None
        new = found is not None
    if found is None:
        found = find_version(kubeflow, pipeline["pipeline_id"], compiled.version)
    if found is None:
        raise TransientError(
            f"the server says that version {compiled.version} is there and does not list it; try again"
        )
    return Uploaded(compiled, pipeline["pipeline_id"], found, new)


def look_up(kubeflow: Kubeflow, compiled: Compiled) -> Uploaded:
    """Return what an upload would lead to, without one; ids that are not given yet say so."""
    pipeline = kubeflow.pipeline(compiled.name)
    there = find_version(kubeflow, pipeline["pipeline_id"], compiled.version) if pipeline else None
    version_id = there or f"(to be uploaded: {compiled.version})"
    return Uploaded(compiled, pipeline["pipeline_id"] if pipeline else "(new)", version_id, there is None)


def find_version(kubeflow: Kubeflow, pipeline_id: str, name: str) -> str | None:
    """Return the id of the pipeline's version of that name, or None."""
    for version in kubeflow.versions(pipeline_id):
        if name in (version.get("name"), version.get("display_name")):
            return str(version["pipeline_version_id"])
    return None
