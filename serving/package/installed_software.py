"""The software in an image with Python: the distributions, the interpreter and Debian's packages."""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.adapters.docker_cli import docker_result
from continuous_training.core.json_object import JsonObject

from .verification import RESTRICTIONS

_SCRIPT = """
import json, platform, shutil, subprocess
from importlib import metadata
release = platform.freedesktop_os_release()
show = ["dpkg-query", "--show", "--showformat", "${Package}\\t${Version}\\t${Architecture}\\n"]
packages = subprocess.check_output(show, text=True).splitlines() if shutil.which(show[0]) else []
distributions = [(d.metadata["Name"], d.version, d.metadata.get("License-Expression", ""))
                 for d in metadata.distributions()]
print(json.dumps({
    "python": platform.python_version(),
    "system": [release.get("ID", ""), release.get("VERSION_ID", "")],
    "distributions": sorted(set(distributions)),
    "packages": sorted(line.split("\\t") for line in packages),
}))
"""


@dataclass(frozen=True)
class Distribution:
    """An installed Python distribution; `license` is an SPDX expression or empty."""

    name: str
    version: str
    license: str


@dataclass(frozen=True)
class SystemPackage:
    """An installed package of the operating system."""

    name: str
    version: str
    architecture: str


@dataclass(frozen=True)
class InstalledSoftware:
    """The software in an image; `system` is the operating system's id and version: debian, 12."""

    python: str
    system: tuple[str, str]
    distributions: tuple[Distribution, ...]
    packages: tuple[SystemPackage, ...]

    @classmethod
    def of_image(cls, image: str) -> InstalledSoftware:
        """Run Python in the image, without network and privileges. Raises UserError if it fails."""
        output = docker_result(
            ["run", "--rm", *RESTRICTIONS, "--entrypoint", "python", image, "-c", _SCRIPT],
            f"the software in {image} could not be listed; see the output of Docker above",
        )
        document = JsonObject.parse(output, f"the software in {image}")
        name, version = document.text_list("system")
        return cls(
            document.text("python"),
            (name, version),
            tuple(Distribution(*item) for item in document.array("distributions")),
            tuple(SystemPackage(*item) for item in document.array("packages")),
        )
