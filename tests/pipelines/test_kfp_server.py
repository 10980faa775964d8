"""The Kubeflow server of the tests, compared with a recording of a real server: same statuses, same keys."""

import json
from pathlib import Path

import pytest
import requests
import yaml

from tests.kfp_server import kfp_server

RECORDING = Path(__file__).parents[3] / "shared/kfp-api/recorded.jsonl"
ID_KEYS = ("experiment_id", "pipeline_id", "pipeline_version_id", "recurring_run_id", "run_id")
OPTIONAL_KEYS = {"plugins_output", "next_page_token", "state_history", "run_details"}
"""Keys that depend on the time of the request or on the configuration of the server."""

SPEC = {
    "pipelineInfo": {"name": "sched"},
    "root": {
        "inputDefinitions": {
            "parameters": {name: {"parameterType": "STRING"} for name in ("when", "nominal")},
        }
    },
    "schemaVersion": "2.1.0",
}


def required_keys(body):
    return {key for key in body if key not in OPTIONAL_KEYS}


@pytest.mark.skipif(
    not RECORDING.is_file(), reason="no ../shared/kfp-api/recorded.jsonl next to the checkout"
)
def test_responses_have_the_status_and_the_keys_of_the_recording():
    recording = [json.loads(line) for line in RECORDING.read_text().splitlines()]
    ids: dict[str, str] = {}
    replayed = 0
    with kfp_server() as kfp:
        kfp.outcome = []
        for exchange in recording:
            request, recorded = exchange["request"], exchange["response"]
            if not _can_be_replayed(request, ids):
                continue
            response = _send(kfp.url, _with_ids_of_this_server(request, ids))
            assert response.status_code == recorded["status"], (request["path"], response.text)
            body = response.json()
            if response.ok:
                assert required_keys(body) == required_keys(recorded["body"]), request["path"]
            for key in ID_KEYS:
                if key in recorded["body"] and key in body:
                    ids.setdefault(recorded["body"][key], body[key])
            versions = (recorded["body"].get("pipeline_versions", []), body.get("pipeline_versions", []))
            for recorded_version, version in zip(*versions, strict=True):
                ids.setdefault(recorded_version["pipeline_version_id"], version["pipeline_version_id"])
            replayed += 1
    assert replayed >= 40


def _with_ids_of_this_server(request, ids):
    text = json.dumps(request)
    for recorded_id, own_id in ids.items():
        text = text.replace(recorded_id, own_id)
    return json.loads(text)


def _can_be_replayed(request, ids):
    """Return whether the recording creates the deleted object, and the request contains no pipeline spec."""
    path = request["path"].split("?")[0]
    deleted_id = path.rsplit("/", 1)[1] if request["method"] == "DELETE" else ""
    return (not deleted_id or deleted_id in ids) and "pipeline_spec" not in (request["body"] or {})


def _send(url, request):
    address = url + request["path"]
    if request["content_type"].startswith("multipart"):
        is_invalid = "name=bad" in request["path"]
        content = "this: is no pipeline" if is_invalid else yaml.safe_dump(SPEC)
        return requests.post(address, files={"uploadfile": ("p.yaml", content)}, timeout=10)
    return requests.request(request["method"], address, json=request["body"], timeout=10)
