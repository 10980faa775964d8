"""What another account may do, asked of the API server before that account needs it.

| way | who may go it |
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
WHO_AM_I = Resource("authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews", namespaced=False)

Allowed = Callable[[str, Resource, str], bool]
"""Whether an account may do a verb with a kind of object, or with a subresource of it."""


def user_of(namespace: str, service_account: str) -> str:
    """Return the name by which the API server knows a service account."""
    return f"system:serviceaccount:{namespace}:{service_account}"


def permissions_of(cluster: Cluster, user: str) -> Allowed:
    """Return what tells whether the service account `user` may do something in the cluster's namespace.

    ForbiddenError when this caller may ask in none of the ways.
    """
    if _who_am_i(cluster) == user:
        return cluster.allowed
    ways = (_reviewed(cluster, user), impersonated(cluster, user).allowed)
    refusals = []
    for way in ways:
        try:
            way("get", POD, "")
        except ForbiddenError as error:
            refusals.append(error)
        else:
            return way
    raise refusals[0]


def _who_am_i(cluster: Cluster) -> str:
    answer = _create(cluster, WHO_AM_I, {}, "ask who this is")
    return str(answer["status"]["userInfo"].get("username", ""))


def _reviewed(cluster: Cluster, user: str) -> Allowed:
    namespace = user.split(":")[2]
    # A service account's token carries these; a review has only what it is given.
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]

    def allowed(verb: str, resource: Resource, sub: str = "") -> bool:
        attributes = {
            "namespace": cluster.namespace,
            "verb": verb,
            "group": resource.group,
            "resource": resource.plural,
            "subresource": sub,
        }
        review = {
            "metadata": {"namespace": cluster.namespace},
            "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
        }
        what = f"ask whether {user} may {verb} {resource.plural}"
        return bool(_create(cluster, LOCAL_REVIEW, review, what)["status"]["allowed"])

    return allowed


def impersonated(cluster: Cluster, user: str) -> Cluster:
    """Return the cluster as `user` sees it; every request is refused to who may not impersonate that one."""
    from kubernetes.client import ApiClient

    transport = cluster.transport
    api = ApiClient(transport.api.configuration, "Impersonate-User", user)
    return Cluster(api, cluster.namespace, who=transport.who, patience=transport.patience)


def _create(cluster: Cluster, resource: Resource, review: Object, what: str) -> Object:
    body = {"apiVersion": resource.api_version, "kind": resource.kind, **review}
    answer = cluster.transport.send(Request("POST", cluster.path(resource), what, body=body))
    return dict(json.loads(answer.data))
