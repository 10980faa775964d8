"""A server needs what the `serving` extra installs, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from benchmarks.serving_image import LIMIT, ROOT, closure, size
from benchmarks.swaps import digits_versions

ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"{name} is not part of a serving image", name=name)

refused = set(sys.argv[3].split(","))
sys.meta_path.insert(0, Refuse())

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
print(served.name, *sorted({name.partition(".")[0] for name in sys.modules} & refused))
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_versions(tmp_path_factory.mktemp("digits"))[0][0].path


def test_what_is_installed_is_small() -> None:
    sizes = {name: size(distribution) for name, distribution in closure().items()}
    assert {"numpy", "onnxruntime", "faiss-cpu", "uvicorn", "orjson"} <= set(sizes)
    assert not {"torch", "scikit-learn", "pyarrow", "mlflow", "kfp", "onnx"} & set(sizes)
    assert 50e6 < sum(sizes.values()) < LIMIT, sizes


def test_a_server_proves_an_archive_with_nothing_else_there(digits: Path, tmp_path: Path) -> None:
    """Everything that is installed beside the extra, and every other room of the house, is refused."""
    there = {name.lower() for name in closure()}
    refused = {
        module
        for module, distributions in metadata.packages_distributions().items()
        if not {name.lower() for name in distributions} & there
    }
    refused |= {"workloads", "components", "pipelines", "torch"}
    # The interpreter itself loads that one when it starts.
    refused -= {"serving", "continuous_training", "_distutils_hack"}
    assert {"sklearn", "pyarrow", "mlflow", "kfp"} <= refused
    command = [sys.executable, "-c", ALONE, str(digits), str(tmp_path / "server"), ",".join(refused)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "digits\n"), done.stderr
