"""Write the golden pipelines with which the tests compare: `make golden`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipelines.compile import compile_manifest, compile_workload
from pipelines.images import Images
from pipelines.steps.settings_file import read_steps
from workloads import discovery

FOLDER = Path(__file__).parent / "golden"
IMAGES = Images("registry.example/ct", tag="golden")
NAMES = tuple(discovery.names())


def _workload(name: str, steps: str = "") -> str:
    return compile_workload(name, IMAGES, read_steps(FOLDER / steps) if steps else None).text


FILES: dict[str, Callable[[], str]] = {
    **{f"{name}.yaml": partial(_workload, name) for name in NAMES},
    "digits.manifest.yaml": lambda: compile_manifest("digits", IMAGES, "kubeflow").text,
    "mnist.steps.yaml": partial(_workload, "mnist", "steps.yaml"),
    "mnist.nodes.yaml": partial(_workload, "mnist", "nodes.yaml"),
    "nsmc.fast.yaml": lambda: compile_workload("nsmc", IMAGES, fixed={"model": "fast"}).text,
}
"""For each golden file, the function that compiles its text."""


def main() -> None:
    """Write every golden file."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in FILES.items():
        (FOLDER / name).write_text(text(), encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
