"""Looks whether a cluster has what a run needs, before it is submitted: `python -m pipelines.preflight`.

It looks for the ConfigMap, the Secrets and the service accounts that the pipelines name, at the settings
in that ConfigMap, for the images in their registries, and asks the API server whether the steps' account
may do what deploy-serving does. What is missing is named with the manifest that brings it. Nothing is
changed, and of a Secret nothing but its existence is asked for. What this user may not see is said, and
not held against the cluster.

exit codes: 0 nothing is missing, 2 something is or no cluster is known, 75 the cluster does not answer
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from continuous_training.core.command import run_command
from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.exit_codes import DONE
from continuous_training.kubeflow.api import Kubeflow
from continuous_training.kubeflow.preflight import cluster_objects, configuration, images, permissions
from continuous_training.kubeflow.preflight.finding import MISSING, THERE, Finding, missing
from continuous_training.kubeflow.preflight.references import Named, images_of, objects_of
from workloads import discovery

from .compile import compile_workload
from .images import add_image_arguments
from .images import images_of as images_of_arguments

NAMESPACE = "kubeflow"
"""Where a Kubeflow Pipelines without profiles runs its pods."""

PATIENCE = 5.0
"""Seconds for which an API server that does not answer is asked again: a person waits."""


def preflight(
    texts: Iterable[str], namespace: str, account: str, kubeconfig: str = "", context: str = ""
) -> Iterator[Finding]:
    """Yield what is found for compiled pipelines whose steps run in `namespace` as that service account.

    Without `account` it is the server's own for runs, and not looked at. UserError when no cluster is
    known, TransientError when it does not answer.
    """
    from continuous_training.adapters.kubernetes.connection import connect

    pipelines = list(texts)
    cluster = connect(namespace, kubeconfig, context)
    cluster.transport.retry_budget = PATIENCE
    place = cluster_objects.namespace(cluster)
    yield place
    if place.state == MISSING:
        return
    named = {one for text in pipelines for one in objects_of(text)}
    if account:
        named.add(Named("ServiceAccount", account, optional=False))
    for one in sorted(named):
        yield cluster_objects.look_for(cluster, one)
    for image in sorted({image for text in pipelines for image in images_of(text)}):
        yield images.look_for(image)
    data = configuration.read(cluster)
    found, settings = configuration.look_at(data) if data is not None else ([], None)
    yield from found
    if settings is not None:
        cluster.namespace = settings.serving.namespace or namespace
        yield from configuration.look_behind(cluster, settings)
        if account:
            yield permissions.look_for(cluster, settings.target, account, namespace)


@dataclass(frozen=True)
class Submission:
    """What a run's steps run as ("": what the server takes), and whether the cluster is looked at before."""

    account: str = cluster_objects.STEPS_ACCOUNT
    looked_at: bool = True
    kubeconfig: str = ""

    def body(self) -> dict[str, str]:
        """Return what the request for a run says of it."""
        return {"service_account": self.account} if self.account else {}

    def look(self, texts: Iterable[str], kubeflow: Kubeflow, say: Callable[[str], None]) -> None:
        """Return when the cluster has what the pipelines need; UserError names all that is missing.

        Says what is doubtful or could not be seen. Where no cluster can be asked, or another one than that
        of the pipelines, that is said in a line, and no more.
        """
        if not self.looked_at:
            return
        namespace = kubeflow.access.namespace
        try:
            found = list(preflight(texts, namespace or NAMESPACE, self.account, self.kubeconfig))
        except PipelineError as error:
            say(f"preflight: skipped: {error}")
            return
        if not namespace and found[0].state == MISSING:
            say(f"preflight: skipped: the kubeconfig's cluster has no namespace {NAMESPACE}")
            return
        for finding in found:
            if finding.state not in (THERE, MISSING):
                say(f"preflight: {finding}")
        if lacking := missing(found):
            told = "\n  ".join(f"{finding.what}: {finding.advice}" for finding in lacking)
            raise UserError(
                f"the cluster lacks what a run needs; --no-preflight submits all the same:\n  {told}"
            )


AS_USUAL = Submission()


def submission_of(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Submission:
    """Return what --service-account, where there is one, --no-preflight and KUBECONFIG say."""
    account = getattr(arguments, "service_account", "")
    return Submission(account, not arguments.no_preflight, environment.get("KUBECONFIG", ""))


def add_preflight_arguments(parser: argparse._ActionsContainer) -> None:
    """Add --service-account and --no-preflight."""
    add_account_argument(parser)
    add_skip_argument(parser)


def add_skip_argument(parser: argparse._ActionsContainer) -> None:
    """Add --no-preflight."""
    parser.add_argument(
        "--no-preflight", action="store_true", help="submit without a look for what the run needs"
    )


def add_account_argument(parser: argparse._ActionsContainer) -> None:
    """Add --service-account."""
    parser.add_argument(
        "--service-account",
        default=cluster_objects.STEPS_ACCOUNT,
        metavar="NAME",
        help="what the steps run as, '' for the server's own; default: %(default)s",
    )


def main(argv: list[str] | None = None) -> int:
    """Print what is found; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.preflight",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--namespace", default=NAMESPACE, help="where the steps' pods run; default: %(default)s"
    )
    parser.add_argument(
        "--workload", nargs="+", action="extend", metavar="NAME", help="default: every registered one"
    )
    parser.add_argument("--context", default="", help="of the kubeconfig; default: its current one")
    add_account_argument(parser)
    add_image_arguments(parser)
    arguments = parser.parse_args(argv)
    return run_command(
        lambda: _run(arguments), "interrupted: a preflight only reads, so nothing was changed on the cluster"
    )


def _run(arguments: argparse.Namespace) -> int:
    """Print the findings. Return the exit code."""
    where = images_of_arguments(arguments)
    texts = [compile_workload(name, where).text for name in arguments.workload or discovery.names()]
    found = []
    cluster = (os.environ.get("KUBECONFIG", ""), arguments.context)
    for finding in preflight(texts, arguments.namespace, arguments.service_account, *cluster):
        print(finding, flush=True)
        found.append(finding)
    lacking = missing(found)
    print(f"{len(lacking)} missing, {sum(f.state == THERE for f in found)} of {len(found)} there")
    return UserError.exit_code if lacking else DONE


if __name__ == "__main__":
    sys.exit(main())
