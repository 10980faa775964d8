"""Write the golden pipelines with which the tests compare: `make golden`."""

from __future__ import annotations

from pathlib import Path

from pipelines.compile import compile_manifest, compile_workload
from pipelines.images import Images
from pipelines.steps.settings_file import read_steps
from workloads import discovery

FOLDER = Path(__file__).parent / "golden"
IMAGES = Images("registry.example/ct", tag="golden")
NAMES = tuple(discovery.names())


def texts() -> dict[str, str]:
    """Return the expected text of each golden file by its name."""
    files = {f"{name}.yaml": compile_workload(name, IMAGES).text for name in NAMES}
    return files | {
        "digits.manifest.yaml": compile_manifest("digits", IMAGES, "kubeflow").text,
        "mnist.steps.yaml": compile_workload("mnist", IMAGES, read_steps(FOLDER / "steps.yaml")).text,
        "mnist.nodes.yaml": compile_workload("mnist", IMAGES, read_steps(FOLDER / "nodes.yaml")).text,
    }


def main() -> None:
    """Write every golden file."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
