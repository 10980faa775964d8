"""The preflight of a cluster: all checks for a set of compiled pipelines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from continuous_training.kubeflow.preflight import cluster_objects, configuration, images, permission_check
from continuous_training.kubeflow.preflight.finding import Finding, State
from continuous_training.kubeflow.preflight.profile_check import check_profile
from continuous_training.kubeflow.preflight.references import (
    Reference,
    image_references,
    object_references,
    pipeline_name,
)
from continuous_training.kubeflow.preflight.retry_policy import check_retry_policy

RETRY_BUDGET = 5.0
"""Seconds for which requests to an unavailable API server are retried. A person waits for the result."""


def check_cluster(
    texts: Iterable[str], namespace: str, account: str, kubeconfig: str = "", context: str = ""
) -> Iterator[Finding]:
    """Yield the findings for compiled pipelines (YAML) whose steps run in `namespace`.

    An empty `account` selects the default of the server, which is not checked. Raises UserError when no
    cluster is configured, and TransientError when the cluster does not answer.
    """
    # Start-up time: the import loads the Kubernetes client, which most commands do not need.
    from continuous_training.adapters.kubernetes.connection import connect

    pipelines = list(texts)
    cluster = connect(namespace, kubeconfig, context)
    cluster.transport.retry_budget = RETRY_BUDGET
    namespace_finding = cluster_objects.check_namespace(cluster)
    yield namespace_finding
    if namespace_finding.state == State.MISSING:
        return
    references = {reference for text in pipelines for reference in object_references(text)}
    if account:
        references.add(Reference("ServiceAccount", account, optional=False))
    for reference in sorted(references):
        yield cluster_objects.check_object(cluster, reference)
    if account:
        yield permission_check.check_scheduled_time(cluster, account)
    yield from check_profile(cluster, account)
    yield from check_retry_policy(cluster)
    for image in sorted({image for text in pipelines for image in image_references(text)}):
        yield images.check_image(image)
    data = configuration.read_config_map(cluster)
    if data is None:
        return
    findings, settings = configuration.check_settings(data)
    yield from findings
    if settings is None:
        return
    cluster.namespace = settings.serving.namespace or namespace
    yield from configuration.check_serving_requirements(cluster, settings)
    if settings.target in ("kubernetes", "torchserve"):
        for name in sorted({pipeline_name(text) for text in pipelines}):
            yield configuration.check_model_name(cluster, name)
    if account:
        yield permission_check.check_permissions(cluster, settings.target, account, namespace)
