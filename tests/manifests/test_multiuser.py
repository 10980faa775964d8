"""The overlay for a profile: service account, token for the Pipelines API, and Istio."""

from __future__ import annotations

from .rendering import MANIFESTS, of_kind, pod_templates, render


def test_steps_use_default_editor_and_a_token_for_the_pipelines_api() -> None:
    objects = render(MANIFESTS / "overlays/kubeflow-multiuser")
    (binding,) = [
        item
        for item in of_kind(objects, "RoleBinding")
        if item["metadata"]["name"] == item["roleRef"]["name"] == "continuous-training"
    ]
    namespace = binding["metadata"]["namespace"]
    subjects = {(subject["name"], subject["namespace"]) for subject in binding["subjects"]}
    assert subjects == {("continuous-training", namespace), ("default-editor", namespace)}

    (token,) = of_kind(objects, "PodDefault")
    (source,) = token["spec"]["volumes"][0]["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "pipelines.kubeflow.org"
    (mount,) = token["spec"]["volumeMounts"]
    (variable,) = token["spec"]["env"]
    assert variable["value"] == f"{mount['mountPath']}/{source['serviceAccountToken']['path']}"


def test_steps_may_get_and_list_runs() -> None:
    objects = render(MANIFESTS / "overlays/kubeflow-multiuser")
    (role,) = [
        item for item in of_kind(objects, "Role") if item["metadata"]["name"] == "continuous-training-runs"
    ]
    (rule,) = role["rules"]
    assert (rule["apiGroups"], rule["resources"]) == (["pipelines.kubeflow.org"], ["runs"])
    # On a real Kubeflow Pipelines 2.17 with several users, the search for terminated runs needs `list`.
    assert rule["verbs"] == ["get", "list"]


def test_the_services_that_steps_call_have_no_sidecar() -> None:
    objects = render(MANIFESTS / "overlays/kubeflow-multiuser")
    for name, template in pod_templates(objects).items():
        assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "false", name


def test_istio_opens_only_the_inference_port() -> None:
    (policy,) = of_kind(render(MANIFESTS / "overlays/kubeflow-multiuser"), "AuthorizationPolicy")
    (rule,) = policy["spec"]["rules"]
    (to,) = rule["to"]
    assert to["operation"]["ports"] == ["8080"]
    assert not [path for path in to["operation"]["paths"] if "repository" in path]
