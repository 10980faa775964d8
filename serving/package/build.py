"""Build the images of a package from a base image, the archive and a bill of materials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from continuous_training.core.json_object import Json

from .archive import PackageArchive
from .base_image import BaseImage
from .bill_of_materials import PATH_IN_IMAGE, bill_of_materials
from .image_archive import add_layers
from .installed_software import InstalledSoftware
from .labels import package_labels
from .layer import LayerFile, write_layer

PORT = 8080
MODEL_PATH = "models/model.mar"

_SECOND = 1_000_000_000
"""Durations of a health check are in nanoseconds."""

_HEALTH_CHECK = (
    f"import http.client as h; c = h.HTTPConnection('127.0.0.1', {PORT}, timeout=4); "
    "c.request('GET', '/v2/health/ready'); raise SystemExit(c.getresponse().status != 200)"
)

_SERVER_SETTINGS: Json = {
    "Entrypoint": [
        *("python", "-m", "serving", "serve", "--host", "0.0.0.0", "--port", str(PORT)),  # noqa: S104
        *("--archive", f"/{MODEL_PATH}"),
    ],
    "Cmd": [],
    "ExposedPorts": {f"{PORT}/tcp": {}},
    "Healthcheck": {
        "Test": ["CMD", "python", "-ESc", _HEALTH_CHECK],
        "Interval": 10 * _SECOND,
        "Timeout": 5 * _SECOND,
        "StartPeriod": 60 * _SECOND,
    },
}
"""The user and the other settings are those of the model server's image."""


@dataclass(frozen=True)
class BuiltImage:
    """The id of an image without a name, and its bill of materials."""

    id: str
    sbom: str


def build_server_image(archive: PackageArchive, base: BaseImage, folder: Path) -> BuiltImage:
    """Build an image that serves the archive, with temporary files in `folder`."""
    software = InstalledSoftware.of_image(base.name)
    return _build(archive, base, folder, "The model server with the model", _SERVER_SETTINGS, software)


def build_model_image(archive: PackageArchive, base: BaseImage, folder: Path) -> BuiltImage:
    """Build an image that contains only the model, for the `oci://` storage of KServe."""
    return _build(archive, base, folder, "The model", {}, None)


def _build(
    archive: PackageArchive,
    base: BaseImage,
    folder: Path,
    content: str,
    settings: Json,
    software: InstalledSoftware | None,
) -> BuiltImage:
    labels = package_labels(archive, base, content)
    sbom = bill_of_materials(archive, labels, software)
    # The layer with the model is the same in all images of the archive, so that registries store it once.
    layers = [
        write_layer(folder / "model.tar", [LayerFile(MODEL_PATH, archive.path)]),
        write_layer(folder / "sbom.tar", [LayerFile(PATH_IN_IMAGE, sbom.encode())]),
    ]
    return BuiltImage(add_layers(base.name, layers, labels, settings), sbom)
