"""Upload compiled pipelines. A version is named after the content of its file, so uploads are idempotent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from continuous_training.core.errors import TransientError
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.api_objects import PipelineVersion


@dataclass(frozen=True)
class CompiledPipeline:
    """A compiled pipeline: its name and its YAML text."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """The sha256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def version(self) -> str:
        """The name of the version: `NAME-` and the first twelve digits of the digest."""
        return f"{self.name}-{self.digest[:12]}"


@dataclass(frozen=True)
class UploadedPipeline:
    """A version on the server. `is_new` is True when the version did not exist before."""

    compiled: CompiledPipeline
    version: PipelineVersion
    is_new: bool


def upload(client: KubeflowClient, compiled: CompiledPipeline, description: str) -> UploadedPipeline:
    """Return the version with this content. Uploads the version if it does not exist."""
    pipeline_id = client.find_pipeline(compiled.name) or client.create_pipeline(compiled.name, description)
    existing = client.find_version(pipeline_id, compiled.version)
    if existing is not None:
        return UploadedPipeline(compiled, existing, is_new=False)
    # The pipeline is created without a version first, because an upload that creates both
    # names the version after the pipeline.
    created = client.upload_version(pipeline_id, compiled.version, f"sha256:{compiled.digest}", compiled.text)
    if created is not None:
        return UploadedPipeline(compiled, created, is_new=True)
    existing = client.find_version(pipeline_id, compiled.version)
    if existing is None:
        raise TransientError(
            f"the server reports that version {compiled.version} exists, but does not list it: try again"
        )
    return UploadedPipeline(compiled, existing, is_new=False)


def plan_upload(client: KubeflowClient, compiled: CompiledPipeline) -> UploadedPipeline:
    """Return the result that an upload would have, without an upload. New ids are placeholders."""
    pipeline_id = client.find_pipeline(compiled.name)
    existing = client.find_version(pipeline_id, compiled.version) if pipeline_id else None
    placeholder = PipelineVersion(pipeline_id or "(new)", f"(to be uploaded: {compiled.version})")
    return UploadedPipeline(compiled, existing or placeholder, is_new=existing is None)
