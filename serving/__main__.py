"""The server's commands: start, stop, status, and serve."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from continuous_training.core.errors import PipelineError, TransientError, UserError, as_pipeline_error
from continuous_training.core.exit_codes import INTERRUPTED
from continuous_training.core.messages import report
from continuous_training.serving.process import daemon, logs, options
from continuous_training.serving.process.server_state import state_directory
from continuous_training.serving.process.settings import available_cores

if TYPE_CHECKING:
    from continuous_training.serving.models.archive_sources import ArchiveSource

MOST_WORKERS = 256


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code (75 from `status` if no server is running)."""
    args = _parser().parse_args(argv)
    try:
        return int(args.command(args))
    except (PipelineError, OSError) as error:
        understood = as_pipeline_error(error)
        report(f"error: {understood}")
        if getattr(args, "json", False):
            print(json.dumps({"verdict": "failed", "reasons": [str(understood)]}))
        return understood.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="start | stop | status | serve")
    start = verbs.add_parser("start", help="start the server in the background, or find it running")
    stop = verbs.add_parser("stop", help="stop it, once its requests are done")
    status = verbs.add_parser(
        "status", help="say where it is and what it serves; exit code 75 when it is not there"
    )
    serve = verbs.add_parser("serve", help="serve archives in the foreground, until Ctrl-C")
    for verb, command in ((start, _start), (stop, _stop), (status, _status), (serve, _serve)):
        verb.set_defaults(command=command)
        if verb is not serve:
            verb.add_argument(
                "--state", type=state_directory, default=Path(".state"), metavar="DIR", help="default: .state"
            )
    for verb in (start, serve):
        verb.add_argument("--port", type=_port, help="default: 8080, or any free one when that is taken")
        verb.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    status.add_argument("--json", action="store_true", help="write one JSON object instead of lines")
    serve.add_argument("--archive", type=Path, action="append", default=[], metavar="FILE.mar")
    serve.add_argument(
        "--model-store",
        metavar="STORE",
        help="an object store that archives are in: a folder, or s3://BUCKET/PREFIX?endpoint=HOST:PORT",
    )
    serve.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME[@ALIAS]",
        help="a model of the store: its champion, or what another alias or a digest names",
    )
    serve.add_argument(
        "--management-port", type=_port, help="let models be loaded, on this port of 127.0.0.1"
    )
    serve.add_argument(
        "--workers",
        type=_count,
        default=1,
        metavar="N",
        help="processes that answer on the port; 0 for as many as there are cores (default: 1)",
    )
    serve.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="warning",
        help="what is logged to standard error, as JSON lines (default: warning)",
    )
    options.add(serve)
    serve.add_argument("--token-file", type=Path, help="holds the token that the management port asks for")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 0 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes: give 0 to {MOST_WORKERS}")
    return int(text)


def _start(args: argparse.Namespace) -> int:
    def print_or_report(line: str) -> None:
        (report if daemon.PORT_TAKEN in line else print)(line)

    daemon.start(args.state, args.port, host=args.host, report=print_or_report)
    return 0


def _stop(args: argparse.Namespace) -> int:
    print("stopped" if daemon.stop(args.state) else f"no server runs in {args.state}")
    return 0


def _status(args: argparse.Namespace) -> int:
    running = daemon.status(args.state)
    if running is None:
        print(json.dumps({"running": False}) if args.json else f"no server runs in {args.state}")
        return TransientError.exit_code
    from continuous_training.serving.process.client import ServerClient

    models = ServerClient(running).models()
    if args.json:
        about = {"pid": running.pid, "url": running.url, "started": running.started}
        print(json.dumps({"running": True, **about, "models": models}))
        return 0
    print(f"serving at {running.url} (pid {running.pid}, since {running.started})")
    for model in models:
        print(_line(model))
    return 0


def _line(model: dict[str, str]) -> str:
    if model["state"] != "READY":
        return f"{model['name']}  unavailable: {model['reason']}"
    return f"{model['name']}  {model['version']}  {model['phase']}  since {model['loaded_at']}"


def _serve(args: argparse.Namespace) -> int:
    if (args.management_port is None) != (args.token_file is None):
        raise UserError("--management-port and --token-file go together")
    if bool(args.archive) == bool(args.model) or bool(args.model) != bool(args.model_store):
        raise UserError("give either --archive FILE.mar, or --model-store STORE with --model NAME")
    if args.workers != 1 and sys.platform != "linux":
        raise UserError("--workers needs Linux, which deals connections out among processes; leave it out")
    if args.workers != 1 and args.management_port is not None:
        raise UserError("--management-port changes the models of one process: leave it or --workers out")
    settings = options.settings(args)
    # Late: numpy's threads are settled by now, and the other commands need neither it nor uvicorn.
    from continuous_training.serving.process.foreground import serve_source, serve_with_workers

    management = None
    if args.token_file is not None:
        management = (args.management_port, _token(args.token_file))
    logs.to_stderr(args.log_level.upper())

    def open_source(folder: Path) -> ArchiveSource:
        return _source(args, folder)

    def say(line: str) -> None:
        # Also the curl lines: standard error holds the log, each line of which is a JSON object.
        print(line, flush=True)

    count = args.workers or available_cores()
    if count > 1:
        return serve_with_workers(open_source, count, args.host, args.port, settings, say)
    serve_source(open_source, args.host, args.port, management, settings, say)
    return 0


def _source(args: argparse.Namespace, folder: Path) -> ArchiveSource:
    from continuous_training.adapters.object_store import open_store
    from continuous_training.serving.models.archive_sources import FileSource, ObjectStoreSource

    if args.archive:
        return FileSource(args.archive)
    return ObjectStoreSource(open_store(args.model_store), args.model, folder)


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UserError(f"the token in {path} cannot be read: {error}") from error
    if not token:
        raise UserError(f"{path} is empty; write a long random token into it")
    return token


if __name__ == "__main__":
    sys.exit(main())
