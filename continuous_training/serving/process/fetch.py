"""An archive of the store as a local file, for a server that reads files alone.

    python -m serving.fetch --model-store STORE --model NAME[@ALIAS] --output FOLDER [--torchserve]

FOLDER/NAME.mar is there, with its sha256 verified, or the exit code is not 0. --torchserve writes
FOLDER/config.properties beside it: TorchServe's settings for a pod, which serve that file on port 8080.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from continuous_training.adapters.model_store import find
from continuous_training.adapters.object_store import open_store
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import PipelineError, UserError, as_pipeline_error
from continuous_training.core.messages import report

TORCHSERVE_SETTINGS = Path(__file__).parents[1] / "torchserve.properties"
CONFIG_FILE = "config.properties"


def fetch(store: str, reference: str, folder: Path) -> Path:
    """Return `folder`/NAME.mar, the archive that NAME[@ALIAS] stands for; UserError when it is damaged."""
    opened = open_store(store)
    pointer = find(opened, reference)
    target = folder / f"{pointer.name}.mar"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as beside:
        found = opened.fetch(pointer.key, Path(beside))
        digest = digest_file(found)
        if not digest.startswith(pointer.digest):
            raise UserError(f"{pointer.key} in the store is damaged: its sha256 is {digest}")
        if found.parent != Path(beside):
            found = _copied(found, Path(beside) / "archive")
        found.replace(target)
    return target


def _copied(source: Path, target: Path) -> Path:
    import shutil

    return Path(shutil.copyfile(source, target))


def torchserve_settings(archive: Path) -> str:
    """Return TorchServe's settings for a pod that serves one archive.

    Inference is for the cluster, and without a key: each pod would have another one. Management stays on
    loopback.
    """
    given = TORCHSERVE_SETTINGS.read_text(encoding="utf-8")
    for here, there in (
        ("inference_address=http://127.0.0.1:8080", "inference_address=http://0.0.0.0:8080"),
        ("disable_token_authorization=false", "disable_token_authorization=true"),
    ):
        if here not in given:
            raise UserError(f"{TORCHSERVE_SETTINGS} does not say {here}")
        given = given.replace(here, there)
    return f"{given}\nmodel_store={archive.parent}\nload_models={archive.name}\ndefault_workers_per_model=1\n"


def main(argv: list[str] | None = None) -> int:
    """Fetch, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.fetch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model-store", required=True, metavar="STORE")
    parser.add_argument("--model", required=True, metavar="NAME[@ALIAS]")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--torchserve", action="store_true", help=f"write {CONFIG_FILE}, too")
    args = parser.parse_args(argv)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        archive = fetch(args.model_store, args.model, args.output.resolve())
        if args.torchserve:
            (args.output / CONFIG_FILE).write_text(torchserve_settings(archive), encoding="utf-8")
    except (PipelineError, OSError) as error:
        understood = as_pipeline_error(error)
        report(f"error: {understood}")
        return understood.exit_code
    print(archive)
    return 0


if __name__ == "__main__":
    sys.exit(main())
