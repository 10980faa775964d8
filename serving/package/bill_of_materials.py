"""The software bill of materials of a package, as CycloneDX: https://cyclonedx.org/docs/1.5/json/.

It contains neither a time nor a random serial number, so that the same package has the same one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from continuous_training.core.files import to_json
from continuous_training.core.json_object import Json

from .archive import PackageArchive
from .installed_software import Distribution, InstalledSoftware, SystemPackage
from .labels import OWN

PATH_IN_IMAGE = "sbom/sbom.cdx.json"


def bill_of_materials(
    archive: PackageArchive, labels: Mapping[str, str], software: InstalledSoftware | None
) -> str:
    """Return the document with the model and, if an image has Python, the software in it.

    The provenance in `labels` becomes properties of the model.
    """
    name, version = archive.manifest.name, archive.digest[:12]
    model = {
        "type": "machine-learning-model",
        "name": name,
        "version": version,
        "hashes": [{"alg": "SHA-256", "content": archive.digest}],
        "properties": [
            {"name": key, "value": value} for key, value in sorted(labels.items()) if key.startswith(OWN)
        ],
    }
    return to_json(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {"component": {"type": "container", "name": name, "version": version}},
            "components": [model, *(_software_components(software) if software else [])],
        }
    )


def _software_components(software: InstalledSoftware) -> list[Json]:
    name, version = software.system
    return [
        {"type": "operating-system", "name": name, "version": version},
        {
            "type": "application",
            "name": "python",
            "version": software.python,
            "cpe": f"cpe:2.3:a:python:python:{software.python}:*:*:*:*:*:*:*",
            "purl": f"pkg:generic/python@{_quoted(software.python)}",
        },
        *(_distribution(distribution) for distribution in software.distributions),
        *(_system_package(package, name, version) for package in software.packages),
    ]


def _distribution(distribution: Distribution) -> Json:
    name = re.sub(r"[-_.]+", "-", distribution.name).lower()
    component: Json = {
        "type": "library",
        "name": distribution.name,
        "version": distribution.version,
        "purl": f"pkg:pypi/{_quoted(name)}@{_quoted(distribution.version)}",
    }
    if distribution.license:
        component["licenses"] = [{"expression": distribution.license}]
    return component


def _system_package(package: SystemPackage, system: str, version: str) -> Json:
    qualifiers = f"arch={_quoted(package.architecture)}&distro={_quoted(f'{system}-{version}')}"
    return {
        "type": "library",
        "name": package.name,
        "version": package.version,
        "purl": f"pkg:deb/{_quoted(system)}/{_quoted(package.name)}@{_quoted(package.version)}?{qualifiers}",
    }


def _quoted(text: str) -> str:
    """Return a text as a part of a package URL, in which a colon is not quoted."""
    return quote(text, safe=":")
