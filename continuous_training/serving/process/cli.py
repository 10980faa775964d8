"""Start, stop and inspect the background server, or serve archives in the foreground."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from continuous_training.core.command import run_command
from continuous_training.core.errors import TransientError, UserError
from continuous_training.core.messages import report
from continuous_training.core.temporary_files import remove_leftovers
from continuous_training.serving.models.model_status import ModelStatus
from continuous_training.serving.process import daemon, logs, options
from continuous_training.serving.process.server_status import ServerStatus
from continuous_training.serving.process.settings import available_cores
from continuous_training.serving.process.state_files import state_directory, status_command

if TYPE_CHECKING:
    from continuous_training.serving.models.archive_sources import ArchiveSource
    from continuous_training.serving.process.foreground import ManagementAccess

MAX_WORKERS = 256
_INTERRUPTED = "interrupted. To see the state of the background server:"

Command = Callable[[argparse.Namespace], int]


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    args = _parser().parse_args(argv)
    json_output = getattr(args, "json", False)
    interruption = "interrupted"
    if hasattr(args, "state"):
        interruption = f"{_INTERRUPTED}\n{status_command(args.state)}"
    return run_command(lambda: int(args.command(args)), interruption, json_output=json_output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="start | stop | status | serve")

    def add_command(name: str, command: Command, help_text: str) -> argparse.ArgumentParser:
        subparser = commands.add_parser(name, help=help_text, description=help_text)
        subparser.set_defaults(command=command)
        return subparser

    start = add_command("start", _start, "start the background server unless it is already running")
    stop = add_command("stop", _stop, "stop the background server after its current requests")
    status = add_command(
        "status", _status, "show the server's address and models; the exit code is 75 if no server is running"
    )
    serve = add_command("serve", _serve, "serve archives in the foreground until Ctrl-C")
    for subparser in (start, stop, status):
        subparser.add_argument(
            "--state",
            type=state_directory,
            default=Path(".state"),
            metavar="DIR",
            help="the state directory (default: .state)",
        )
    for subparser in (start, serve):
        _add_address(subparser)
    status.add_argument("--json", action="store_true", help="print one JSON object")
    _add_source(serve)
    _add_process_options(serve)
    return parser


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=_port, help="default: 8080, or any free port if 8080 is taken")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--archive",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.mar",
        help="an archive to serve; repeat the option for more archives",
    )
    parser.add_argument(
        "--model-store",
        metavar="STORE",
        help="an object store that contains archives: a folder, or s3://BUCKET/PREFIX?endpoint=HOST:PORT",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME[@ALIAS]",
        help="a model in the store: its champion, or the version of another alias or of a digest",
    )


def _add_process_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--management-port",
        type=_port,
        help="a port of 127.0.0.1 through which models can be loaded and unloaded; needs --token-file",
    )
    parser.add_argument(
        "--token-file", type=Path, help="a file with the token that clients of the management port must send"
    )
    parser.add_argument(
        "--workers",
        type=_worker_count,
        default=1,
        metavar="N",
        help="number of processes that share the port; Linux only; 0: one per core (default: 1)",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="warning",
        help="the lowest level that is logged to standard error, as JSON lines (default: warning)",
    )
    options.add(parser)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: pass a number from 0 to 65535")
    return int(text)


def _worker_count(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_WORKERS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of processes: pass a number from 0 to {MAX_WORKERS}"
        )
    return int(text)


def _start(args: argparse.Namespace) -> int:
    def print_or_report(line: str) -> None:
        (report if daemon.PORT_TAKEN in line else print)(line)

    remove_leftovers(args.state)
    daemon.start(args.state, args.port, host=args.host, report=print_or_report)
    return 0


def _stop(args: argparse.Namespace) -> int:
    print("stopped" if daemon.stop(args.state) else f"no server runs in {args.state}")
    return 0


def _status(args: argparse.Namespace) -> int:
    status = _server_status(args.state)
    if args.json:
        print(json.dumps(status.to_json()))
    elif status.server is None:
        print(f"no server runs in {args.state}")
    else:
        print(f"serving at {status.server.url} (pid {status.server.pid}, since {status.server.started})")
        for model in status.models:
            print(_model_line(model))
    return TransientError.exit_code if status.server is None else 0


def _server_status(state: Path) -> ServerStatus:
    running = daemon.status(state)
    if running is None:
        return ServerStatus(None)
    # Import here for a shorter start-up time: the client needs requests, which other commands do not use.
    from continuous_training.serving.process.client import ServerClient

    return ServerStatus(running, tuple(ServerClient(running).models()))


def _model_line(model: ModelStatus) -> str:
    if not model.ready:
        return f"{model.name}  unavailable: {model.reason}"
    return f"{model.name}  {model.version}  {model.phase}  since {model.loaded_at}"


def _serve(args: argparse.Namespace) -> int:
    _check_combinations(args)
    settings = options.settings(args)
    # Import here, after options.settings has set the number of threads that numpy reads at its import.
    from continuous_training.serving.process.foreground import serve_source
    from continuous_training.serving.process.worker_server import serve_with_workers

    management = _management_access(args)
    logs.to_stderr(args.log_level.upper())

    def open_source(downloads: Path) -> ArchiveSource:
        return _open_source(args, downloads)

    def print_line(line: str) -> None:
        # Also the curl lines: each line of standard error is a JSON object of the log.
        print(line, flush=True)

    count = args.workers or available_cores()
    if count > 1:
        return serve_with_workers(open_source, count, args.host, args.port, settings, print_line)
    serve_source(open_source, args.host, args.port, management, settings, print_line)
    return 0


def _check_combinations(args: argparse.Namespace) -> None:
    if (args.management_port is None) != (args.token_file is None):
        raise UserError("--management-port and --token-file must be used together")
    if bool(args.archive) == bool(args.model) or bool(args.model) != bool(args.model_store):
        raise UserError("pass either --archive FILE.mar, or --model-store STORE with --model NAME")
    if args.workers != 1 and sys.platform != "linux":
        raise UserError(
            f"--workers works on Linux only, and this platform is {sys.platform}; omit the option"
        )
    if args.workers != 1 and args.management_port is not None:
        raise UserError(
            "--management-port changes the models of one process only; omit it, or omit --workers"
        )


def _management_access(args: argparse.Namespace) -> ManagementAccess | None:
    from continuous_training.serving.process.foreground import ManagementAccess  # Loads numpy: see _serve.

    if args.token_file is None:
        return None
    return ManagementAccess(args.management_port, _read_token(args.token_file))


def _open_source(args: argparse.Namespace, downloads: Path) -> ArchiveSource:
    # Import here for a shorter start-up time of the commands that do not serve.
    from continuous_training.adapters.object_store import open_store
    from continuous_training.serving.models.archive_sources import FileSource, ObjectStoreSource

    if args.archive:
        return FileSource(args.archive)
    return ObjectStoreSource(open_store(args.model_store), args.model, downloads)


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UserError(f"the token file {path} cannot be read: {error}") from error
    if not token:
        raise UserError(f"the token file {path} is empty; write a long random token into it")
    return token
