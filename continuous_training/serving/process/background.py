"""Run the background server of a state directory in this process. `daemon.start` runs this module."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from continuous_training.core.errors import PipelineError
from continuous_training.core.messages import report
from continuous_training.serving.process import logs, options
from continuous_training.serving.process.state_files import StateFiles


def main(argv: list[str] | None = None) -> int:
    """Run the server until SIGTERM or SIGINT, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m continuous_training.serving.process.background", description=__doc__
    )
    parser.add_argument("--state", type=Path, required=True, help="the state directory")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, help="default: the last port, or 8080, or any free port")
    options.add(parser)
    args = parser.parse_args(argv)
    logs.to_stderr()
    try:
        settings = options.settings(args)
        # Import after options.settings, which sets the number of threads that numpy reads at its import.
        from continuous_training.serving.process.server import serve

        serve(StateFiles.of(args.state), args.host, args.port, settings)
    except PipelineError as error:
        report(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
