"""Start runs for callers over HTTP, on this machine or on a cluster.

serve runs the service. token prints a new token for a caller, and the digest for the file of the callers.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from continuous_training.adapters.object_store import open_store
from continuous_training.core.command import run_command
from continuous_training.core.exit_codes import DONE
from continuous_training.core.messages import report
from continuous_training.core.run_parameters import Values
from continuous_training.core.settings import Settings, local_registry_uri
from continuous_training.serving.process import logs
from continuous_training.serving.process.sockets import listen
from continuous_training.serving.process.state_files import state_directory
from continuous_training.trigger.authorization import Access
from continuous_training.trigger.caller_file import CallerFile, new_token, token_digest
from continuous_training.trigger.decisions import Decisions, NoDecisions
from continuous_training.trigger.dispatcher import Dispatcher
from continuous_training.trigger.endpoints import TriggerEndpoints
from continuous_training.trigger.events.event_endpoint import EventEndpoint
from continuous_training.trigger.events.event_source import read_event_sources
from continuous_training.trigger.events.pending_events import PendingEvents
from continuous_training.trigger.events.slack_decisions import SlackDecisions
from continuous_training.trigger.events.slack_endpoint import SlackEndpoint
from continuous_training.trigger.events.slack_replies import SlackReplies
from continuous_training.trigger.pipeline_parameters import TriggerPipeline
from continuous_training.trigger.rate_limit import RateLimit
from continuous_training.trigger.run_queue import RunQueue
from continuous_training.trigger.run_requests import RunRequests
from continuous_training.trigger.run_target import RunTarget
from continuous_training.trigger.service import serve
from pipelines.local_run.local_run import check_extras
from pipelines.trigger.decision_processes import DecisionProcesses
from pipelines.trigger.local_target import LocalTarget
from pipelines.upload import add_server_arguments, connect
from workloads import discovery

DEFAULT_PORT = 8090


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of both commands."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.trigger",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("token", help="print a new token and its digest")
    service = commands.add_parser("serve", help="run the service until Ctrl-C")
    service.add_argument(
        "--callers", type=Path, required=True, metavar="FILE", help="the callers, their tokens and rights"
    )
    service.add_argument(
        "--events", type=Path, metavar="FILE", help="the sources of events that start runs; default: none"
    )
    service.add_argument("--address", default="127.0.0.1", help="where to listen; default: 127.0.0.1")
    service.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"default: {DEFAULT_PORT}; 0: any")
    service.add_argument(
        "--target", choices=["local", "cluster"], default="local", help="where to run; default: local"
    )
    service.add_argument(
        "--state", type=state_directory, metavar="DIR", help="the state directory; default: .state"
    )
    service.add_argument(
        "--key-window",
        type=_positive,
        default=86400.0,
        metavar="SECONDS",
        help="how long a request with the same key returns the same run; default: a day",
    )
    service.add_argument(
        "--rate",
        type=_positive,
        default=60.0,
        metavar="N",
        help="requests per minute and caller; default: 60",
    )
    service.add_argument(
        "--interval",
        type=_positive,
        default=2.0,
        metavar="SECONDS",
        help="how often the queue and the active runs are read; default: 2",
    )
    add_server_arguments(service.add_argument_group("on a cluster"))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a command. Return the exit code."""
    arguments = create_parser().parse_args(argv)
    action = _print_token if arguments.command == "token" else _serve
    return run_command(lambda: action(arguments), interruption="")


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _print_token(_: argparse.Namespace) -> int:
    token = new_token()
    report("Give the token to the caller; it is not stored. Add the digest to the file of the callers.")
    print(f"token:  {token}\ndigest: {token_digest(token)}")
    return DONE


def _serve(arguments: argparse.Namespace) -> int:
    logs.to_stderr(logging.INFO)
    settings = Settings.from_environment(os.environ, arguments.state)
    access = Access(CallerFile(arguments.callers, settings.addresses), RateLimit(arguments.rate))
    pipelines = {name: _pipeline(name, arguments.target) for name in discovery.usable()[0]}
    store = open_store(settings.store, settings.store_access)
    queue = RunQueue(store, arguments.key_window)
    dispatcher = Dispatcher(queue, _target(arguments, settings), arguments.interval)
    runs = RunRequests(pipelines, dispatcher)
    decisions = _decisions(arguments, settings)
    routes = TriggerEndpoints(access, runs, decisions).routes()
    if arguments.events:
        sources = read_event_sources(arguments.events, pipelines)
        pending = PendingEvents(store, sources, runs)
        replies = SlackReplies(store, queue)
        dispatcher.tasks += [pending.process, replies.process]
        slack = SlackEndpoint(pending, replies, SlackDecisions(decisions))
        routes += EventEndpoint(sources, access, pending, slack).routes()
    opened = listen(arguments.address, arguments.port)
    host, port = opened.getsockname()[:2]
    serve(
        routes,
        dispatcher,
        opened,
        lambda: report(f"listening at http://{f'[{host}]' if ':' in host else host}:{port}"),
    )
    return DONE


def _pipeline(name: str, target: str) -> TriggerPipeline:
    workload = discovery.get(name)

    def parse(parameters: Mapping[str, object]) -> Values:
        values = workload.parse(parameters)
        if target == "local":
            check_extras(workload, values)
        return values

    return TriggerPipeline(name, workload.summary, workload.parameters(), parse)


def _target(arguments: argparse.Namespace, settings: Settings) -> RunTarget:
    if arguments.target == "local":
        return LocalTarget(settings, arguments.state is not None)
    # Import here for a shorter start-up time of the local service.
    from continuous_training.trigger.kubeflow_target import KubeflowTarget

    return KubeflowTarget(connect(arguments), open_store(settings.store, settings.store_access))


def _decisions(arguments: argparse.Namespace, settings: Settings) -> Decisions:
    """Return the implementation of the decisions about versions.

    On a cluster, this is possible if the environment names the deployment target and the registry, as the
    component trigger-decisions of the manifests does.
    """
    if arguments.target == "local":
        return DecisionProcesses(str(settings.state) if arguments.state is not None else "")
    if settings.target == "local" or settings.registry == local_registry_uri(settings.state):
        return NoDecisions(arguments.namespace or "")
    return DecisionProcesses("", arguments.namespace or "")


if __name__ == "__main__":
    sys.exit(main())
