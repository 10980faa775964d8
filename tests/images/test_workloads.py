"""The steps that call a workload can import it: the included workloads, and a workload of a user."""

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
def user_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the complete example workload of docs/workloads.md."""
    folder = tmp_path_factory.mktemp("user")
    files = re.findall(r"```python\n# (workloads/wine/\w+\.py)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for name, text in [("workloads/__init__.py", ""), ("workloads/wine/__init__.py", ""), *files]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    return folder


@pytest.mark.parametrize("step", ["prep-data", "train", "evaluate", "deploy-serving"])
def test_a_step_can_import_every_workload(
    engine: docker.DockerClient, images: Images, user_folder: Path, step: str
) -> None:
    listing = (
        "from workloads import discovery; [print(discovery.get(name).name) for name in discovery.names()]"
    )
    output = engine.containers.run(
        images.of(step),
        ["python", "-c", listing],
        environment={"PYTHONPATH": "/app:/user"},
        volumes={str(user_folder): {"bind": "/user", "mode": "ro"}},
        remove=True,
        **HARDENED,
    ).decode()
    assert output.split() == sorted([*discovery.names(), "wine"])
