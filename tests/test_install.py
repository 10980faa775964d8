"""The command make install: extras of any name, unknown extras, and a checkout that cannot be written."""

from __future__ import annotations

import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd "$1" && shift && exec "$@"'


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files that make install reads."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("scripts", "locks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("extras", ["registry-server", "torch", "torch,deploy-serving"])
def test_the_names_of_extras_are_passed_unchanged(checkout: Path, extras: str) -> None:
    planned = make("-n", "install", f"EXTRAS={extras}", folder=checkout).stdout
    names = " ".join(sorted(["local", *extras.split(",")]))
    assert f"sh scripts/install .venv {names}\n" in planned


@pytest.mark.parametrize("extras", ["nosuch", "torch,nosuch"])
def test_an_unknown_extra_is_rejected_with_the_list(checkout: Path, extras: str) -> None:
    done = make("install", f"EXTRAS={extras}", folder=checkout)
    assert done.returncode != 0
    assert "there is no extra 'nosuch'; the extras are: " in done.stderr
    options = ConfigParser()
    options.read(ROOT / "setup.cfg")
    listed = done.stderr.partition("the extras are: ")[2].splitlines()[0].split()
    assert listed == sorted(options["options.extras_require"])
    assert not (checkout / ".venv").exists()


def test_a_checkout_that_cannot_be_written_is_named_as_the_cause(checkout: Path) -> None:
    unshare = ("unshare", "-rm", "bash", "-c", READ_ONLY, "bash", str(checkout))
    try:
        probe = subprocess.run([*unshare, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("this system has no unshare")
    if probe.returncode:
        pytest.skip("this system does not permit a mount in a user namespace")
    done = subprocess.run(
        [*unshare, "make", "install"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr
    assert "python3-venv" not in done.stderr
