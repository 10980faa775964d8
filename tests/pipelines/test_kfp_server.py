"""The tests' own server answers as the recording of a real one does: the same status, the same keys."""

import json
from pathlib import Path

import pytest
import requests
import yaml

from tests.kfp_server import kfp_server

RECORDED = Path(__file__).parents[3] / "shared/kfp-api/recorded.jsonl"
ID_KEYS = ("experiment_id", "pipeline_id", "pipeline_version_id", "recurring_run_id", "run_id")
OPTIONAL = {"plugins_output", "next_page_token", "state_history", "run_details"}
"""Keys that depend on when somebody asks, and on what an administrator configured."""

SPEC = {
    "pipelineInfo": {"name": "sched"},
    "root": {
        "inputDefinitions": {
            "parameters": {name: {"parameterType": "STRING"} for name in ("when", "nominal")},
        }
    },
    "schemaVersion": "2.1.0",
}


def keys(answer):
    return {key for key in answer if key not in OPTIONAL}


@pytest.mark.skipif(not RECORDED.is_file(), reason="no ../shared/kfp-api/recorded.jsonl beside the checkout")
def test_every_recorded_request_gets_the_recorded_kind_of_answer():
    recorded = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    ids: dict[str, str] = {}
    played = 0
    with kfp_server() as kfp:
        kfp.outcome = []
        for pair in recorded:
            request, response = pair["request"], pair["response"]
            if not _is_whole(request, ids):
                continue
            text = json.dumps(request)
            for theirs, ours in ids.items():
                text = text.replace(theirs, ours)
            sent = json.loads(text)
            answer = _send(kfp.url, sent)
            assert answer.status_code == response["status"], (request["path"], answer.text)
            body = answer.json()
            if answer.ok:
                assert keys(body) == keys(response["body"]), request["path"]
            for key in ID_KEYS:
                if key in response["body"] and key in body:
                    ids.setdefault(response["body"][key], body[key])
            for name in ("pipeline_versions",):
                for theirs, made in zip(response["body"].get(name, []), body.get(name, []), strict=True):
                    ids.setdefault(theirs["pipeline_version_id"], made["pipeline_version_id"])
            played += 1
    assert played >= 40


def _is_whole(request, ids):
    """Tell whether what a request names was made in the recording, too; and its pipeline is there whole."""
    path = request["path"].split("?")[0]
    deleted = path.rsplit("/", 1)[1] if request["method"] == "DELETE" else ""
    return (not deleted or deleted in ids) and "pipeline_spec" not in (request["body"] or {})


def _send(url, sent):
    if sent["content_type"].startswith("multipart"):
        bad = "name=bad" in sent["path"]
        content = "this: is no pipeline" if bad else yaml.safe_dump(SPEC)
        return requests.post(url + sent["path"], files={"uploadfile": ("p.yaml", content)}, timeout=10)
    return requests.request(sent["method"], url + sent["path"], json=sent["body"], timeout=10)
