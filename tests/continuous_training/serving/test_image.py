"""The serving image: the `serving` extra is small and sufficient for a server."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from benchmarks.serving_image import LIMIT, ROOT, closure, size
from benchmarks.swaps import digits_versions

SERVE_WITHOUT_OTHER_PACKAGES = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is not part of a serving image", name=name)

blocked = set(sys.argv[3].split(","))
sys.meta_path.insert(0, Blocker())

import asyncio, json
from pathlib import Path
import continuous_training.serving.process.foreground, continuous_training.serving.process.server
import continuous_training.serving.process.worker_server
from continuous_training.serving.process.application import ServerApplication
from continuous_training.core.digest import digest_file
from continuous_training.serving.models.model_repository import ModelRepository

archive = Path(sys.argv[1])
repository = ModelRepository(Path(sys.argv[2]))
served = repository.load(archive, digest_file(archive))
ServerApplication(repository)
print(served.name, *sorted({name.partition(".")[0] for name in sys.modules} & blocked))
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_versions(tmp_path_factory.mktemp("digits"))[0][0].path


def test_the_installed_packages_are_small() -> None:
    sizes = {name: size(distribution) for name, distribution in closure().items()}
    assert {"numpy", "onnxruntime", "faiss-cpu", "uvicorn", "orjson"} <= set(sizes)
    assert not {"torch", "scikit-learn", "pyarrow", "mlflow", "kfp", "onnx"} & set(sizes)
    assert 50e6 < sum(sizes.values()) < LIMIT, sizes


def test_a_server_loads_an_archive_with_only_the_serving_extra(digits: Path, tmp_path: Path) -> None:
    """Block every installed module outside the extra, and every other package of the project."""
    extra = {name.lower() for name in closure()}
    blocked = {
        module
        for module, distributions in metadata.packages_distributions().items()
        if not {name.lower() for name in distributions} & extra
    }
    blocked |= {"workloads", "components", "pipelines", "torch"}
    # The interpreter itself loads _distutils_hack when it starts.
    blocked -= {"serving", "continuous_training", "_distutils_hack"}
    assert {"sklearn", "pyarrow", "mlflow", "kfp"} <= blocked
    arguments = [str(digits), str(tmp_path / "server"), ",".join(blocked)]
    command = [sys.executable, "-c", SERVE_WITHOUT_OTHER_PACKAGES, *arguments]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stdout) == (0, "digits\n"), process.stderr
