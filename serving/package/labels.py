"""The labels of a package: the model, its provenance and the image that it extends."""

from __future__ import annotations

from continuous_training.artifacts.errors import ArchiveError
from continuous_training.core.json_object import JsonObject

from .archive import PackageArchive
from .base_image import OCI, BaseImage

OWN = "continuous-training/"


def package_labels(archive: PackageArchive, base: BaseImage, content: str) -> dict[str, str]:
    """Return the labels that are added to those of the base image. Unknown values are left out.

    `content` is the beginning of the description: "The model".
    """
    manifest, version = archive.manifest, archive.digest[:12]
    provenance = JsonObject(manifest.provenance, "the provenance in the archive", ArchiveError)
    data = provenance.nested("data", {})
    optional = {
        f"{OCI}base.digest": base.digest,
        f"{OWN}run": archive.run,
        f"{OWN}code-digest": provenance.text("code", ""),
        f"{OWN}data-fingerprint": data.text("fingerprint", ""),
        f"{OWN}input-digest": provenance.text("recipe", ""),
        f"{OWN}model-digest": provenance.text("model_digest", ""),
    }
    return {
        f"{OCI}title": manifest.name,
        f"{OCI}description": f"{content} {manifest.name}, version {version}",
        f"{OCI}version": version,
        f"{OCI}base.name": base.name,
        f"{OWN}model": manifest.name,
        f"{OWN}digest": archive.digest,
        **{name: value for name, value in optional.items() if value},
    }
