"""The labels of a package: the model, its provenance and the image of the model server."""

from __future__ import annotations

from continuous_training.artifacts.archive_manifest import ArchiveManifest
from continuous_training.artifacts.errors import ArchiveError
from continuous_training.core.json_object import JsonObject

from .serving_image import OCI, ServingImage

OWN = "continuous-training/"


def package_labels(manifest: ArchiveManifest, digest: str, run: str, image: ServingImage) -> dict[str, str]:
    """Return the labels that are added to those of the server's image. Unknown values are left out."""
    provenance = JsonObject(manifest.provenance, "the provenance in the archive", ArchiveError)
    data = provenance.nested("data", {})
    version = digest[:12]
    optional = {
        f"{OCI}base.digest": image.digest,
        f"{OWN}run": run,
        f"{OWN}code-digest": provenance.text("code", ""),
        f"{OWN}data-fingerprint": data.text("fingerprint", ""),
        f"{OWN}input-digest": provenance.text("recipe", ""),
        f"{OWN}model-digest": provenance.text("model_digest", ""),
    }
    return {
        f"{OCI}title": manifest.name,
        f"{OCI}description": f"The model server with the model {manifest.name}, version {version}",
        f"{OCI}version": version,
        f"{OCI}base.name": image.name,
        f"{OWN}model": manifest.name,
        f"{OWN}digest": digest,
        **{name: value for name, value in optional.items() if value},
    }
