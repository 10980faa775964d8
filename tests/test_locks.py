"""The lock files match setup.cfg and constraints.txt, and every pin has hashes."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = sorted(Path("locks").glob("*.txt"))
EXTRAS = [lock.stem for lock in LOCKS if lock.stem not in {"build", "uv"}]
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)")


def pins(file: Path) -> set[tuple[str, str]]:
    matches = (PIN.match(line) for line in file.read_text().splitlines())
    return {(canonicalize_name(match[1]), match[2]) for match in matches if match}


def package_names(extra: str, options: ConfigParser) -> set[str]:
    """Return the package names in an extra and in the extras that it includes."""
    names: set[str] = set()
    for line in options["options.extras_require"][extra].split("\n"):
        if line:
            requirement = Requirement(line)
            if requirement.name == "continuous-training":
                names = names.union(*(package_names(included, options) for included in requirement.extras))
            else:
                names.add(canonicalize_name(requirement.name))
    return names


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_pin_has_hashes(lock: Path) -> None:
    blocks = re.split(r"(?<!\\)\n", lock.read_text())
    requirements = [block for block in blocks if block.strip() and not block.startswith("#")]
    assert requirements
    assert [block for block in requirements if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_has_the_versions_of_the_constraints(extra: str) -> None:
    assert pins(Path(f"locks/{extra}.txt")) <= pins(Path("constraints.txt"))


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_has_the_packages_of_its_extra(extra: str) -> None:
    options = ConfigParser()
    options.read("setup.cfg")
    locked = {name for name, _ in pins(Path(f"locks/{extra}.txt"))}
    assert package_names(extra, options) <= locked


def test_the_build_backend_has_the_locked_version() -> None:
    ((name, version),) = pins(Path("locks/build.txt"))
    assert f'requires = ["{name}=={version}"]' in Path("pyproject.toml").read_text()
