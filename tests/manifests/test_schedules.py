"""The CronJob of the schedules: its command, against a Kubeflow server, and its permissions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines import schedule
from tests.kfp_server import ROOT, KfpServer, kfp_server

from .audit import Permission, permissions_of_rules
from .rendering import MANIFESTS, Object, of_kind, pod_templates, relative_path, render, write

NIGHTLY = {"name": "nightly", "workload": "diabetes", "cron": "30 2 * * *", "timezone": "Europe/Berlin"}
NAME = "continuous-training-schedules"
REQUESTS = {
    "GET pipelines": "pipelines list",
    "POST pipelines": "pipelines create",
    "GET pipelines/ID/versions": "pipelines/versions list",
    "POST pipelines/upload_version": "pipelines/versions create",
    "GET experiments": "experiments list",
    "POST experiments": "experiments create",
    "GET recurringruns": "jobs list",
    "POST recurringruns": "jobs create",
    "POST recurringruns/ID:enable": "jobs enable",
    "POST recurringruns/ID:disable": "jobs disable",
    "DELETE recurringruns/ID": "jobs delete",
    "GET runs": "runs list",
}
"""The permission that Kubeflow Pipelines checks for each request, as resource and verb."""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A kustomization with the CronJob and its own schedule file, as in docs/gitops.md."""
    folder = tmp_path / "site"
    folder.mkdir()
    write_schedule(folder)
    (folder / "images.json").write_text(json.dumps({"train": f"sha256:{'ab' * 32}"}), encoding="utf-8")
    generator = {
        "name": NAME,
        "behavior": "merge",
        "files": ["schedules.yaml", "images.json"],
        "literals": ["REGISTRY=registry.example/ct", "TAG=3f2a91c"],
    }
    return write(
        folder,
        {
            "namespace": "kubeflow",
            "resources": [
                relative_path(folder, MANIFESTS / name) for name in ("overlays/standalone", "schedules")
            ],
            "images": [
                {"name": "pipelines", "newName": "registry.example/ct/pipelines", "newTag": "3f2a91c"}
            ],
            "configMapGenerator": [generator],
        },
    )


def write_schedule(folder: Path, **changes: str) -> None:
    """Write the schedule file with one schedule."""
    text = yaml.safe_dump({"schedules": [NIGHTLY | changes]})
    (folder / "schedules.yaml").write_text(text, encoding="utf-8")


@pytest.fixture
def kfp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KfpServer]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with kfp_server() as server:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.url)
        yield server


def start_job(objects: list[Object], folder: Path) -> int:
    """Run the command of the CronJob with the files and values of its ConfigMap. Return the exit code."""
    template = pod_templates(objects)[NAME]
    (container,) = template["spec"]["containers"]
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    data = config_map(objects, volumes["schedules"]["configMap"]["name"])
    folder.mkdir(exist_ok=True)
    for name, text in data.items():
        (folder / name).write_text(text, encoding="utf-8")
    values = {item["name"]: data[item["valueFrom"]["configMapKeyRef"]["key"]] for item in container["env"]}
    arguments = [
        re.sub(r"\$\((\w+)\)", lambda match: values[match[1]], argument).replace(
            "/etc/schedules", str(folder)
        )
        for argument in container["args"]
    ]
    assert arguments[0] == "pipelines.schedule"
    return schedule.main(arguments[1:])


def config_map(objects: list[Object], name: str) -> dict[str, str]:
    (data,) = [item["data"] for item in of_kind(objects, "ConfigMap") if item["metadata"]["name"] == name]
    return dict(data)


def test_the_job_reverts_manual_changes(site: Path, kfp: KfpServer, tmp_path: Path) -> None:
    objects = render(site)
    assert start_job(objects, tmp_path / "files") == 0
    (created,) = kfp.recurring_runs.values()
    assert (created["display_name"], created["mode"]) == ("nightly", "ENABLE")
    created["mode"] = "DISABLE"
    assert start_job(objects, tmp_path / "files") == 0
    assert [run["mode"] for run in kfp.recurring_runs.values()] == ["ENABLE"]
    # The pipeline names the images of the site.
    (version,) = kfp.versions.values()
    text = json.dumps(version["pipeline_spec"])
    assert "registry.example/ct/prep-data:3f2a91c" in text
    assert f"registry.example/ct/train@sha256:{'ab' * 32}" in text


def test_the_job_corrects_the_time_after_a_clock_change(site: Path, kfp: KfpServer, tmp_path: Path) -> None:
    assert start_job(render(site), tmp_path / "files") == 0
    (created,) = kfp.recurring_runs.values()
    cron = created["trigger"]["cron_schedule"]["cron"]
    # The hour of the other half of the year in Berlin.
    created["trigger"]["cron_schedule"]["cron"] = {"0 30 1 * * *": "0 30 0 * * *"}.get(cron, "0 30 1 * * *")
    created["description"] = created["description"].replace(cron, "0 0 0 1 1 *")
    assert start_job(render(site), tmp_path / "files") == 0
    (corrected,) = kfp.recurring_runs.values()
    assert corrected["trigger"]["cron_schedule"]["cron"] == cron


def test_a_mistake_in_the_file_fails_the_job_without_retries(
    site: Path, kfp: KfpServer, tmp_path: Path
) -> None:
    write_schedule(site, cron="0 3 15W * *")
    objects = render(site)
    assert start_job(objects, tmp_path / "files") == 2
    assert kfp.recurring_runs == {}
    (job,) = of_kind(objects, "CronJob")
    (rule,) = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2])
    assert job["spec"]["concurrencyPolicy"] == "Forbid"


def test_a_new_file_changes_the_job(site: Path) -> None:
    """The name of the ConfigMap contains a digest, so Argo CD and Flux apply a changed file."""
    before = pod_templates(render(site))[NAME]
    write_schedule(site, cron="0 4 * * *")
    assert pod_templates(render(site))[NAME] != before


def test_without_files_of_a_site_nothing_is_scheduled(kfp: KfpServer, tmp_path: Path) -> None:
    assert start_job(render(MANIFESTS / "schedules"), tmp_path / "files") == 0
    assert kfp.recurring_runs == {}


def test_the_role_grants_what_the_requests_need(site: Path, kfp: KfpServer, tmp_path: Path) -> None:
    objects = render(site)
    assert start_job(objects, tmp_path / "files") == 0
    # A replacement uses the remaining requests.
    write_schedule(site, cron="0 4 * * *")
    assert start_job(render(site), tmp_path / "files") == 0
    used = {
        REQUESTS[re.sub(r"[0-9a-f-]{36}", "ID", f"{verb} {path.removeprefix(ROOT)[1:]}")]
        for verb, path in kfp.requests
    }
    (role,) = [item for item in of_kind(objects, "Role") if item["metadata"]["name"] == NAME]
    granted = permissions_of_rules(role["rules"])
    assert {Permission("pipelines.kubeflow.org", *line.split()) for line in used} <= granted
    assert {
        permission.resource for permission in granted if permission.group != "pipelines.kubeflow.org"
    } == {
        "scheduledworkflows",
        "workflows",
    }
    (binding,) = [item for item in of_kind(objects, "RoleBinding") if item["metadata"]["name"] == NAME]
    assert [subject["name"] for subject in binding["subjects"]] == [NAME]
    assert pod_templates(objects)[NAME]["spec"]["serviceAccountName"] == NAME


def test_the_job_reaches_only_kubeflow_the_api_server_and_dns(site: Path) -> None:
    (policy,) = [item for item in of_kind(render(site), "NetworkPolicy") if item["metadata"]["name"] == NAME]
    labels = pod_templates(render(site))[NAME]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy["spec"]
    ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 8888, 443, 6443]
