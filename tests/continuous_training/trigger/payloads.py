"""Requests in the formats that the senders document."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from urllib.parse import quote_plus, urlencode

from continuous_training.core.json_object import Json

GITHUB_SECRET = b"It's a Secret to Everybody"
SLACK_SECRET = b"8f742231b10e8888abcd99yyyzzz85a5"
MLFLOW_SECRET = b"mlflow-secret"


def s3_notification(
    key: str, sequencer: str = "0055AED6DCD90281E5", name: str = "ObjectCreated:Put"
) -> bytes:
    """A notification of Amazon S3, version 2.1."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "1970-01-01T00:00:00.000Z",
        "eventName": name,
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "testConfigRule",
            "bucket": {
                "name": "data",
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": "arn:aws:s3:::data",
            },
            "object": {
                "key": quote_plus(key),
                "size": 1024,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                "sequencer": sequencer,
            },
        },
    }
    return json.dumps({"Records": [record]}).encode()


def minio_notification(key: str) -> bytes:
    """A notification that MinIO sends to a webhook."""
    content = json.loads(s3_notification(key))
    content["Records"][0] |= {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "awsRegion": "",
        "eventName": "s3:ObjectCreated:Put",
        "source": {"host": "10.0.0.7", "port": "", "userAgent": "MinIO (linux; amd64) minio-go/v7.0.70"},
    }
    return json.dumps({"EventName": "s3:ObjectCreated:Put", "Key": f"data/{key}", **content}).encode()


def eventbridge_event(key: str) -> bytes:
    """An event of Amazon S3 through EventBridge."""
    detail = {
        "version": "0",
        "bucket": {"name": "data"},
        "object": {
            "key": key,
            "size": 5,
            "etag": "b1946ac92492d2347c6235b4d2611184",
            "sequencer": "00617F08299329D189",
        },
        "request-id": "N4N7GDK58NMKJ12R",
        "requester": "123456789012",
        "reason": "PutObject",
    }
    event = {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2021-11-12T00:00:00Z",
        "region": "ca-central-1",
        "resources": ["arn:aws:s3:::data"],
        "detail": detail,
    }
    return json.dumps(event).encode()


def github_push(ref: str = "refs/heads/main", path: str = "workloads/digits/workload.py") -> bytes:
    """The payload of a push event, without the fields about users and links."""
    commit = {
        "id": "1481a2de7b2a7d02428ad93446ab166be7793fbb",
        "message": "Change the embedding",
        "timestamp": "2026-11-29T10:00:00+01:00",
        "added": [],
        "removed": [],
        "modified": [path],
    }
    push = {
        "ref": ref,
        "before": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
        "after": "1481a2de7b2a7d02428ad93446ab166be7793fbb",
        "created": False,
        "deleted": False,
        "forced": False,
        "repository": {"id": 186853002, "full_name": "octo-org/models", "private": True},
        "pusher": {"name": "octocat", "email": "octocat@github.com"},
        "commits": [commit],
        "head_commit": commit,
    }
    return json.dumps(push).encode()


def github_headers(body: bytes, secret: bytes = GITHUB_SECRET, event: str = "push") -> dict[str, str]:
    """The headers of a delivery of GitHub."""
    return {
        "user-agent": "GitHub-Hookshot/044aadd",
        "content-type": "application/json",
        "x-github-event": event,
        "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "x-hub-signature-256": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest(),
    }


def slack_headers(body: bytes, secret: bytes = SLACK_SECRET, age: int = 0) -> dict[str, str]:
    """The headers of a request of Slack that was signed `age` seconds ago."""
    timestamp = str(int(time.time()) - age)
    signature = hmac.new(secret, f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": timestamp,
        "x-slack-signature": f"v0={signature}",
    }


def slack_click(
    message: Json, action: str, response_url: str, user: str = "U2CERLKJA", name: str = "roadrunner"
) -> bytes:
    """The request of Slack when a user clicks a button of a message that an incoming webhook has sent."""
    blocks = [{**block, "block_id": f"b{number}"} for number, block in enumerate(message["blocks"])]
    buttons = [
        (block["block_id"], button)
        for block in blocks
        if block["type"] == "actions"
        for button in block["elements"]
        if button["action_id"] == action
    ]
    ((block_id, button),) = buttons
    clicked = {key: value for key, value in button.items() if key != "confirm"}
    payload = {
        "type": "block_actions",
        "user": {"id": user, "username": name, "name": name, "team_id": "T1DC2JH3J"},
        "api_app_id": "A02",
        "token": "Shh_its_a_seekrit",
        "container": {
            "type": "message",
            "message_ts": "1764496801.000200",
            "channel_id": "CBR2V3XEX",
            "is_ephemeral": False,
        },
        "trigger_id": f"12466734323.1395872398.{time.monotonic_ns()}",
        "team": {"id": "T1DC2JH3J", "domain": "testteamnow"},
        "enterprise": None,
        "is_enterprise_install": False,
        "channel": {"id": "CBR2V3XEX", "name": "models"},
        "message": {
            "subtype": "bot_message",
            "type": "message",
            "bot_id": "BAH5CA16Z",
            "text": message["text"],
            "ts": "1764496801.000200",
            "blocks": blocks,
        },
        "state": {"values": {}},
        "response_url": response_url,
        "actions": [{**clicked, "block_id": block_id, "action_ts": "1764496900.651481"}],
    }
    return urlencode({"payload": json.dumps(payload)}).encode()


def mlflow_webhook() -> bytes:
    """The payload of MLflow's event for an alias."""
    data = {"name": "digits", "alias": "data-ready", "version": "3"}
    event = {
        "entity": "model_version_alias",
        "action": "created",
        "timestamp": "2026-11-29T10:00:00",
        "data": data,
    }
    return json.dumps(event).encode()
