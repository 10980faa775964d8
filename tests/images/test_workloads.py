"""The steps that ask a workload something can import it: those that come along, and somebody's own."""

from __future__ import annotations

import re
from pathlib import Path

import docker
import pytest

from pipelines.images import Images
from workloads import discovery

from .conftest import HARDENED

PAGE = Path("docs/workloads.md")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the workload that the page on workloads shows in full."""
    folder = tmp_path_factory.mktemp("ours")
    files = re.findall(r"```python\n# (workloads/wine/\w+\.py)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for name, text in [("workloads/__init__.py", ""), ("workloads/wine/__init__.py", ""), *files]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    return folder


@pytest.mark.parametrize("step", ["prep-data", "train", "evaluate", "deploy-serving"])
def test_a_step_knows_every_workload(
    engine: docker.DockerClient, images: Images, ours: Path, step: str
) -> None:
    listing = "from workloads import register; [print(register.get(name).name) for name in register.names()]"
    told = engine.containers.run(
        images.of(step),
        ["python", "-c", listing],
        environment={"PYTHONPATH": "/app:/ours"},
        volumes={str(ours): {"bind": "/ours", "mode": "ro"}},
        remove=True,
        **HARDENED,
    ).decode()
    assert told.split() == sorted([*discovery.names(), "wine"])
