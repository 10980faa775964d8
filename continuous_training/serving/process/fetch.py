"""Download an archive from an object store to a local folder, for servers that read local files only.

    python -m serving.fetch --model-store STORE --model NAME[@ALIAS] --output FOLDER [--torchserve]

Writes FOLDER/NAME.mar and verifies its sha256. If it cannot, the exit code is not 0. --torchserve also writes
FOLDER/config.properties: the settings with which TorchServe serves this archive in a pod, on port 8080.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from continuous_training.adapters.model_store import find
from continuous_training.adapters.object_store import open_store
from continuous_training.core.command import run_command
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import UserError
from continuous_training.core.temporary_files import TemporaryFolder, remove_leftovers

TORCHSERVE_SETTINGS = Path(__file__).parents[1] / "torchserve.properties"
CONFIG_FILE = "config.properties"

_POD_SETTINGS = (
    ("inference_address=http://127.0.0.1:8080", "inference_address=http://0.0.0.0:8080"),
    ("disable_token_authorization=false", "disable_token_authorization=true"),
)
"""Lines of TORCHSERVE_SETTINGS and their replacements for a pod.

Other pods must reach the inference port, and without a key, because each pod would have a different one. The
management port stays on the loopback interface.
"""


def fetch(store_url: str, reference: str, folder: Path) -> Path:
    """Download the archive of NAME[@ALIAS] to `folder`/NAME.mar, and return its path.

    Raises UserError if the archive is damaged.
    """
    store = open_store(store_url)
    pointer = find(store, reference)
    target = folder / f"{pointer.name}.mar"
    remove_leftovers(folder, recursive=False)
    with TemporaryFolder(folder, "fetch") as temporary:
        archive = store.fetch(pointer.key, temporary)
        digest = digest_file(archive)
        if not digest.startswith(pointer.digest):
            raise UserError(
                f"{pointer.key} in the store is damaged: its sha256 is {digest}, not {pointer.digest}; "
                "upload the archive again"
            )
        # A store that is a local folder returns its own file, which must stay there.
        if archive.parent != temporary:
            archive = Path(shutil.copyfile(archive, temporary / "archive"))
        archive.replace(target)
    return target


def torchserve_settings(archive: Path) -> str:
    """Return the settings with which TorchServe serves one archive in a pod."""
    settings = TORCHSERVE_SETTINGS.read_text(encoding="utf-8")
    for line, replacement in _POD_SETTINGS:
        if line not in settings:
            raise UserError(f"{TORCHSERVE_SETTINGS} does not contain the line {line}")
        settings = settings.replace(line, replacement)
    return (
        f"{settings}\nmodel_store={archive.parent}\nload_models={archive.name}\ndefault_workers_per_model=1\n"
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.fetch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model-store",
        required=True,
        metavar="STORE",
        help="a folder, or s3://BUCKET/PREFIX?endpoint=HOST:PORT",
    )
    parser.add_argument(
        "--model", required=True, metavar="NAME[@ALIAS]", help="the model; without an alias, its champion"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="created if it does not exist"
    )
    parser.add_argument("--torchserve", action="store_true", help=f"also write {CONFIG_FILE}")
    args = parser.parse_args(argv)
    return run_command(lambda: _run(args), "interrupted: the archive was not downloaded")


def _run(args: argparse.Namespace) -> int:
    args.output.mkdir(parents=True, exist_ok=True)
    archive = fetch(args.model_store, args.model, args.output.resolve())
    if args.torchserve:
        (args.output / CONFIG_FILE).write_text(torchserve_settings(archive), encoding="utf-8")
    print(archive)
    return 0


if __name__ == "__main__":
    sys.exit(main())
