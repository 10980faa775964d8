"""Connect to the API server, with the pod's service account or a kubeconfig.

The `kubernetes` package is imported only when a connection is made, because its import takes longer than most
steps take on one machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.core.errors import UserError
from continuous_training.core.progress import Progress

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def connect(
    namespace: str = "",
    kubeconfig: str = "",
    context: str = "",
    progress: Progress = lambda _: None,
) -> Cluster:
    """Return the cluster of `kubeconfig`, or of this pod, or of ~/.kube/config.

    The default of `namespace` is the pod's or the context's namespace. Raises UserError if no cluster is
    configured. No request is sent yet.
    """
    try:
        from kubernetes.config import ConfigException
    except ImportError:
        raise UserError(
            "the kubernetes package is not installed: pip install 'continuous-training[deploy-serving]'"
        ) from None
    in_pod = not kubeconfig and (_ACCOUNT / "token").is_file()
    try:
        api, default = _in_pod() if in_pod else _from_kubeconfig(kubeconfig, context)
    except (ConfigException, OSError) as error:
        raise UserError(
            f"no Kubernetes cluster is configured ({str(error).strip()}): set KUBECONFIG to a "
            "kubeconfig file, or run this in a pod with a service account's token"
        ) from None
    caller = "this pod's service account" if in_pod else "the kubeconfig's user"
    return Cluster(api, namespace or default, in_pod, caller, progress)


def _in_pod() -> tuple[ApiClient, str]:
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import load_incluster_config

    configuration = Configuration()
    load_incluster_config(client_configuration=configuration)
    configuration.retries = False
    return ApiClient(configuration), (_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()


def _from_kubeconfig(path: str, context: str) -> tuple[ApiClient, str]:
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import load_kube_config
    from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigMerger

    configuration = Configuration()
    load_kube_config(path or None, context or None, client_configuration=configuration)
    configuration.retries = False
    # Not list_kube_config_contexts, which requires a current context also if another one is selected.
    merged = KubeConfigMerger(path or KUBE_CONFIG_DEFAULT_LOCATION).config.value
    contexts = {entry.value["name"]: entry.value.get("context") or {} for entry in merged["contexts"]}
    selected = contexts.get(context or merged.get("current-context"), {})
    users = {entry.value["name"]: entry.value.get("user") or {} for entry in merged["users"] or []}
    _reject_impersonation(users.get(selected.get("user"), {}))
    return ApiClient(configuration), str(selected.get("namespace") or "default")


def _reject_impersonation(user: Mapping[str, Any]) -> None:
    """Raise UserError if kubectl would act as another user.

    The client ignores `as`, so a command would act with the permissions of the user itself.
    """
    if keys := [key for key in ("as", "as-uid", "as-groups", "as-user-extra") if user.get(key)]:
        raise UserError(
            f"the kubeconfig's user impersonates another user ({', '.join(keys)}), which is not supported: "
            "use a kubeconfig with the credentials of that user"
        )
