"""The rendered objects of each overlay: valid, restricted, and without secrets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

import continuous_training.core.serving_settings as serving_settings_module
import continuous_training.core.settings as settings_module
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.core.settings import Settings
from pipelines.steps.defaults import STEPS, environment_of

from .rendering import (
    MANIFESTS,
    OVERLAYS,
    Object,
    containers,
    of_kind,
    pod_templates,
    references,
    relative_path,
    render,
    write,
)

KUBERNETES = "1.34"
PINNED = re.compile(r"(:v?\d+\.\d+[\w.]*|@sha256:[0-9a-f]{64})$")
SCHEMAS = Path(__file__).parent / "schemas"


ADDITIONS = (
    "components/monitoring",
    "components/trainer",
    "schedules",
    "trigger",
    "trigger and components/trigger-decisions",
)


@pytest.fixture(scope="module", params=[*OVERLAYS, *(f"standalone with {name}" for name in ADDITIONS)])
def objects(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """The objects of an overlay, and of an overlay with an optional addition."""
    name, _, addition = request.param.partition(" with ")
    overlay = MANIFESTS / "overlays" / name
    if not addition:
        return render(overlay)
    folder = tmp_path_factory.mktemp("site")
    kustomization: dict[str, Any] = {"resources": [relative_path(folder, overlay)], "namespace": "kubeflow"}
    for part in addition.split(" and "):
        key = "components" if part.startswith("components/") else "resources"
        kustomization.setdefault(key, []).append(relative_path(folder, MANIFESTS / part))
    return render(write(folder, kustomization))


def test_every_object_is_valid(objects: list[Object]) -> None:
    for item in objects:
        schema = SCHEMAS / f"{item['kind']}.json"
        if schema.exists():
            Draft202012Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(item)
        else:
            kubernetes_validate.validate(item, KUBERNETES, strict=True)


def test_the_schemas_reject_misspelt_keys() -> None:
    (rule,) = [
        item
        for item in yaml.safe_load_all((MANIFESTS / "components/monitoring/rules.yaml").read_text())
        if item["kind"] == "PrometheusRule"
    ]
    schema = Draft202012Validator(json.loads((SCHEMAS / "PrometheusRule.json").read_text(encoding="utf-8")))
    assert schema.is_valid(rule)
    rule["spec"]["groups"][0]["rules"][0]["exprr"] = "1"
    assert not schema.is_valid(rule)


def test_all_objects_are_in_one_namespace(objects: list[Object]) -> None:
    assert len({item["metadata"]["namespace"] for item in objects}) == 1


def test_overlays_contain_no_namespace_secret_or_cluster_role(objects: list[Object]) -> None:
    assert not of_kind(objects, "Namespace", "Secret", "ClusterRole", "ClusterRoleBinding")


def test_images_are_pinned(objects: list[Object]) -> None:
    for template in pod_templates(objects).values():
        for container in containers(template):
            image = container["image"]
            # The user sets the locations of the images of this project.
            assert image in {"registry", "pipelines", "trigger"} or re.search(
                r"(:v?\d+\.\d+[\w.]*|@sha256:[0-9a-f]{64})$", image
            ), image


def test_pods_are_restricted_and_have_a_read_only_root(objects: list[Object]) -> None:
    for name, template in pod_templates(objects).items():
        pod = template["spec"]["securityContext"]
        assert pod["runAsNonRoot"], name
        assert pod["runAsUser"] > 0, name
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert template["spec"]["automountServiceAccountToken"] is False, name
        for container in containers(template):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"], name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["requests"], name
            assert container["resources"]["limits"]["memory"], name


def test_every_referenced_secret_is_in_the_example(objects: list[Object]) -> None:
    secret_keys = {secret["metadata"]["name"]: set(secret["data"]) for secret in example()}
    templates = list(pod_templates(objects).values())
    optional_keys = {key for step in STEPS for key in environment_of(step).secret}
    for reference in references(templates, "secretKeyRef"):
        optional = optional_keys if reference.get("optional") else set()
        assert reference["key"] in secret_keys[reference["name"]] | optional
    for reference in references(templates, "secretRef"):
        assert reference["name"] in secret_keys
    # Kubernetes creates the ConfigMap with its certificate in each namespace.
    maps = {item["metadata"]["name"] for item in of_kind(objects, "ConfigMap")} | {"kube-root-ca.crt"}
    for volume in references(templates, "configMap"):
        assert volume["name"] in maps


def test_every_service_selects_pods_with_its_port(objects: list[Object]) -> None:
    for service in of_kind(objects, "Service"):
        selector = service["spec"]["selector"]
        if selector == {"app.kubernetes.io/name": "model-server"}:
            continue  # deploy-serving creates those pods
        (template,) = [
            template
            for template in pod_templates(objects).values()
            if selector.items() <= template["metadata"]["labels"].items()
        ]
        names = {port["name"] for c in containers(template) for port in c.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def test_every_pod_is_selected_by_a_network_policy(objects: list[Object]) -> None:
    policies = of_kind(objects, "NetworkPolicy")
    (deny,) = [p for p in policies if p["metadata"]["name"] == "continuous-training-default-deny"]
    assert not {"ingress", "egress"} & set(deny["spec"])
    for name, template in pod_templates(objects).items():
        labels = template["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "continuous-training"
        assert [p for p in policies if p is not deny and selects(p, labels)], name


def test_model_servers_accept_only_the_inference_port(objects: list[Object]) -> None:
    labels = {"app.kubernetes.io/name": "model-server"}
    rules = [
        rule
        for policy in of_kind(objects, "NetworkPolicy")
        if selects(policy, labels)
        for rule in policy["spec"].get("ingress", [])
    ]
    assert rules
    # 8012 is the port of Knative's queue-proxy, which passes requests to the inference port.
    assert all(rule["ports"] in ([{"port": "http"}], [{"port": 8012}]) and rule["from"] for rule in rules)


def test_knative_reaches_model_servers_only_with_kserve() -> None:
    ports = {
        name: {
            port["port"]
            for policy in of_kind(render(MANIFESTS / f"overlays/{name}"), "NetworkPolicy")
            if selects(policy, {"app.kubernetes.io/name": "model-server"})
            for rule in policy["spec"].get("ingress", [])
            for port in rule["ports"]
        }
        for name in ("kserve", "standalone")
    }
    assert ports == {"kserve": {"http", 8012}, "standalone": {"http"}}


def test_egress_is_restricted(objects: list[Object]) -> None:
    for policy in of_kind(objects, "NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            assert rule.get("to") or rule.get("ports"), policy["metadata"]["name"]


def test_the_registry_restricts_host_names_and_proxies_artifacts() -> None:
    (registry,) = of_kind(render(MANIFESTS / "overlays/standalone"), "Deployment")
    arguments = registry["spec"]["template"]["spec"]["containers"][0]["args"]
    (hosts,) = [argument for argument in arguments if argument.startswith("--allowed-hosts=")]
    assert "*" not in hosts.partition("=")[2].split(",")
    assert "--serve-artifacts" in arguments
    assert not re.search(r"://[^/@]*:[^/@]*@", " ".join(arguments)), "a password on a command line"


def test_targets_of_the_overlays() -> None:
    assert {name: settings_of(name)["CT_TARGET"] for name in OVERLAYS} == {
        "kserve": "kserve",
        "kubeflow-multiuser": "kubernetes",
        "standalone": "kubernetes",
    }


def test_the_config_map_contains_the_settings_of_a_step() -> None:
    data = settings_of("standalone")
    settings = Settings.from_environment(data)
    assert (settings.registry, settings.store) == (data["MLFLOW_TRACKING_URI"], data["CT_STORE"])
    assert (settings.target, settings.kfp_api) == (data["CT_TARGET"], data["CT_KFP_API"])
    assert settings.serving == ServingSettings(store=data["CT_STORE"])
    documentation = f"{settings_module.__doc__}{serving_settings_module.__doc__}"
    assert [name for name in data if name not in documentation] == []


def test_the_namespace_enforces_restricted() -> None:
    namespace = yaml.safe_load((MANIFESTS / "namespace.yaml").read_text(encoding="utf-8"))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def settings_of(overlay: str) -> dict[str, str]:
    """Return the data of the ConfigMap of an overlay."""
    (settings,) = [
        item
        for item in of_kind(render(MANIFESTS / "overlays" / overlay), "ConfigMap")
        if item["metadata"]["name"] == "continuous-training"
    ]
    return dict(settings["data"])


def example() -> list[Object]:
    """Return the Secrets of the example."""
    text = (MANIFESTS / "base/secret.example.yaml").read_text(encoding="utf-8")
    return [secret for secret in yaml.safe_load_all(text) if secret]


def selects(policy: Object, labels: dict[str, str]) -> bool:
    """Return whether a network policy selects pods with these labels."""
    selector = policy["spec"]["podSelector"]
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    return all(
        labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", [])
    )
