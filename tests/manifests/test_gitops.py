"""Native Pipeline objects as Argo CD and Flux apply them from git."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pipelines import compile

from .rendering import MANIFESTS, Object, of_kind, relative_path, render, write

SCHEMAS = Path(__file__).parent / "schemas"
KINDS = ("Pipeline", "PipelineVersion")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder site/pipelines of docs/gitops.md."""
    folder = tmp_path_factory.mktemp("site") / "pipelines"
    images = ["--registry", "registry.example/ct", "--tag", "3f2a91c"]
    options = ["--workload", "digits", "iris", "--kubernetes-manifest", "--output", str(folder), *images]
    assert compile.main(options) == 0
    return write(
        folder,
        {
            "namespace": "kubeflow",
            "resources": ["digits.manifest.yaml", "iris.manifest.yaml"],
            "components": [relative_path(folder, MANIFESTS / "gitops/pipelines")],
        },
    )


def annotations(item: Object) -> dict[str, str]:
    return dict(item["metadata"]["annotations"])


def documents(name: str) -> list[Object]:
    """Return the objects of a file of manifests/gitops."""
    return list(yaml.safe_load_all((MANIFESTS / "gitops" / name).read_text(encoding="utf-8")))


def test_the_objects_are_valid_and_named_after_their_content(site: Path) -> None:
    objects = render(site)
    for item in objects:
        schema = json.loads((SCHEMAS / f"{item['kind']}.json").read_text(encoding="utf-8"))
        Draft202012Validator(schema).validate(item)
    assert [item["metadata"]["name"] for item in of_kind(objects, "Pipeline")] == ["digits", "iris"]
    for version in of_kind(objects, "PipelineVersion"):
        name, digest = version["metadata"]["name"].rsplit("-", 1)
        assert (version["spec"]["pipelineName"], len(digest)) == (name, 12)


def test_the_schema_rejects_a_misspelt_key(site: Path) -> None:
    (version, _) = of_kind(render(site), "PipelineVersion")
    schema = json.loads((SCHEMAS / "PipelineVersion.json").read_text(encoding="utf-8"))
    version["spec"]["pipelineNames"] = "digits"
    assert not Draft202012Validator(schema).is_valid(version)


def test_versions_are_created_after_pipelines_and_never_deleted(site: Path) -> None:
    waves = {
        kind: {
            annotations(item).get("argocd.argoproj.io/sync-wave", "0") for item in of_kind(render(site), kind)
        }
        for kind in KINDS
    }
    assert waves == {"Pipeline": {"0"}, "PipelineVersion": {"1"}}
    for item in render(site):
        assert annotations(item)["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
        assert annotations(item)["kustomize.toolkit.fluxcd.io/prune"] == "disabled"


def test_flux_applies_the_versions_after_the_pipelines(site: Path, tmp_path: Path) -> None:
    first, second = of_kind(documents("flux.yaml"), "Kustomization")
    assert second["spec"]["dependsOn"] == [{"name": first["metadata"]["name"]}]
    rendered = [render(write(tmp_path / name, patched(tmp_path / name, site, flux))) for name, flux in
                (("first", first), ("second", second))]  # fmt: skip
    assert [{item["kind"] for item in objects} for objects in rendered] == [{"Pipeline"}, {"PipelineVersion"}]
    (repository,) = of_kind(documents("flux.yaml"), "GitRepository")
    for flux in (first, second):
        assert flux["spec"]["sourceRef"]["name"] == repository["metadata"]["name"]


def patched(folder: Path, site: Path, flux: Object) -> dict[str, Any]:
    """Return the kustomization that Flux generates: the folder with the patches of its own object."""
    return {"resources": [relative_path(folder, site)], "patches": flux["spec"]["patches"]}


def test_argo_cd_and_flux_apply_the_same_folder_to_the_same_namespace() -> None:
    (application,) = documents("argocd.yaml")
    assert application["spec"]["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True}
    sources = {(application["spec"]["source"]["path"], application["spec"]["destination"]["namespace"])}
    for flux in of_kind(documents("flux.yaml"), "Kustomization"):
        sources.add((flux["spec"]["path"].removeprefix("./"), flux["spec"]["targetNamespace"]))
    assert sources == {("site/pipelines", "kubeflow")}
