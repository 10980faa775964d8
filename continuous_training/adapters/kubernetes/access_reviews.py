"""Check the permissions of another account.

| request | who may send it |
|---|---|
| SelfSubjectAccessReview | the account itself |
| LocalSubjectAccessReview | a namespace's administrator |
| SelfSubjectAccessReview, impersonating the account | a namespace's editor, for its service accounts |
"""

from __future__ import annotations

import json
from collections.abc import Callable

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.resources import POD, Resource
from continuous_training.adapters.kubernetes.transport import Request

LOCAL_REVIEW = Resource("authorization.k8s.io/v1", "LocalSubjectAccessReview", "localsubjectaccessreviews")
SELF_REVIEW = Resource(
    "authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews", namespaced=False
)

Allowed = Callable[[str, Resource, str], bool]
"""Whether an account may use a verb on a kind of object, or on a subresource of it."""


def user_of(namespace: str, service_account: str) -> str:
    """Return the user name of a service account."""
    return f"system:serviceaccount:{namespace}:{service_account}"


def permissions_of(cluster: Cluster, user: str) -> Allowed:
    """Return the check of the permissions of the service account `user` in the cluster's namespace.

    Raises ForbiddenError if this caller may use none of the requests in the module's table.
    """
    if _current_user(cluster) == user:
        return cluster.allowed
    checks = (_review_of(cluster, user), impersonated(cluster, user).allowed)
    errors = []
    for check in checks:
        try:
            check("get", POD, "")
        except ForbiddenError as error:
            errors.append(error)
        else:
            return check
    raise errors[0]


def _current_user(cluster: Cluster) -> str:
    response = _create(cluster, SELF_REVIEW, {}, "get the user name of this caller")
    return str(response["status"]["userInfo"].get("username", ""))


def _review_of(cluster: Cluster, user: str) -> Allowed:
    namespace = user.split(":")[2]
    # A token contains the groups of its service account; a review needs them in its spec.
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]

    def allowed(verb: str, resource: Resource, subresource: str = "") -> bool:
        attributes = {
            "namespace": cluster.namespace,
            "verb": verb,
            "group": resource.group,
            "resource": resource.plural,
            "subresource": subresource,
        }
        review = {
            "metadata": {"namespace": cluster.namespace},
            "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
        }
        description = f"check whether {user} may {verb} {resource.plural}"
        return bool(_create(cluster, LOCAL_REVIEW, review, description)["status"]["allowed"])

    return allowed


def impersonated(cluster: Cluster, user: str) -> Cluster:
    """Return the cluster with requests as `user`, which the caller must be allowed to impersonate."""
    from kubernetes.client import ApiClient

    transport = cluster.transport
    api = ApiClient(transport.api.configuration, "Impersonate-User", user)
    return Cluster(api, cluster.namespace, caller=transport.caller, retry_budget=transport.retry_budget)


def _create(cluster: Cluster, resource: Resource, review: Object, description: str) -> Object:
    body = {"apiVersion": resource.api_version, "kind": resource.kind, **review}
    response = cluster.transport.send(Request("POST", cluster.path(resource), description, body=body))
    return dict(json.loads(response.data))
