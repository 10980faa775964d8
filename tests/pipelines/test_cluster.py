"""Uploading, running and following on a Kubeflow server, by the command lines."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from continuous_training.core.errors import TransientError, UserError
from continuous_training.kubeflow.api import Kubeflow
from continuous_training.kubeflow.connection import find_access
from continuous_training.kubeflow.follow import follow, steps_of
from continuous_training.kubeflow.upload import find_version
from continuous_training.kubeflow.upload import upload as upload_pipeline
from pipelines import run, upload
from tests.kfp_server import Refused, kfp_server

ROOT = Path(__file__).parents[2]
STEPS = ("prep-data", "train", "evaluate", "archive", "deploy-serving", "notify")
PROMOTED = [(step, state) for step in STEPS for state in ("RUNNING", "SUCCEEDED")] + [("run", "SUCCEEDED")]
UNCHANGED = [("prep-data", "SUCCEEDED"), ("train", "SKIPPED"), ("notify", "SUCCEEDED"), ("run", "SUCCEEDED")]
REJECTED = [*PROMOTED[:6], ("archive", "SKIPPED"), ("notify", "SUCCEEDED"), ("run", "SUCCEEDED")]
FAILED = [*PROMOTED[:3], ("train", "FAILED"), ("notify", "SUCCEEDED"), ("run", "FAILED")]


@pytest.fixture
def kfp(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    for name in ("CT_STORE", "KF_PIPELINES_ENDPOINT", "CT_KFP_TOKEN", "CT_KFP_TOKEN_FILE", "CT_KFP_COOKIE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with kfp_server() as server:
        yield server


def client(kfp):
    return Kubeflow(find_access({}, kfp.url), backoff=0)


def run_it(kfp, *arguments):
    return run.main(["--target", "cluster", "--workload", "diabetes", "--host", kfp.url, *arguments])


def test_uploads_each_pipeline_once_under_the_name_of_its_content(kfp, capsys):
    assert upload.main(["--workload", "diabetes", "--host", kfp.url]) == 0
    first = capsys.readouterr().out
    (pipeline,) = kfp.pipelines.values()
    (version,) = kfp.versions.values()
    assert pipeline["name"] == "diabetes"
    assert version["name"].startswith("diabetes-")
    assert version["pipeline_spec"]["pipelineInfo"]["name"] == "diabetes"
    assert "uploaded" in first
    assert f"/#/pipelines/details/{pipeline['pipeline_id']}/version/{version['pipeline_version_id']}" in first
    assert upload.main(["--workload", "diabetes", "--host", kfp.url]) == 0
    assert "is there" in capsys.readouterr().out
    assert upload.main(["--workload", "diabetes", "--host", kfp.url, "--tag", "abc"]) == 0
    assert (len(kfp.pipelines), len(kfp.versions)) == (1, 2)


def test_finds_what_is_on_a_later_page(kfp):
    kfp.page = 2
    made = client(kfp).create_pipeline("diabetes", "text")["pipeline_id"]
    for number in range(5):
        kfp._version(made, f"v{number}", "", {})
    assert find_version(client(kfp), made, "v4")
    assert len(list(client(kfp).versions(made))) == 5


def test_a_race_for_a_name_is_no_error(kfp):
    there = client(kfp).create_pipeline("diabetes", "text")
    assert client(kfp).create_pipeline("diabetes", "text") == there
    assert client(kfp).upload_version(there["pipeline_id"], "v", "d", SPEC) is not None
    assert client(kfp).upload_version(there["pipeline_id"], "v", "d", SPEC) is None


SPEC = "pipelineInfo: {name: x}\nroot: {}\nschemaVersion: 2.1.0\n"


@pytest.mark.parametrize(
    ("outcome", "verdict", "code"),
    [(PROMOTED, "promoted", 0), (REJECTED, "rejected", 3), (UNCHANGED, "unchanged", 0)],
)
def test_a_run_is_followed_to_its_verdict(kfp, capsys, outcome, verdict, code):
    kfp.outcome = outcome
    assert run_it(kfp, "--set", "test_size=0.3", "--set", "features=bmi", "--json") == code
    told = capsys.readouterr()
    result = json.loads(told.out)
    (made,) = kfp.runs.values()
    assert result["verdict"] == verdict
    assert result["page"] == f"{kfp.url}/#/runs/details/{made['run_id']}"
    assert made["runtime_config"]["parameters"] == {"test_size": 0.3, "features": "bmi"}
    assert result["page"] in told.err
    assert set(result["seconds"]) == {name for name, state in outcome if state == "SUCCEEDED"} - {"run"}


def test_the_failed_step_and_its_pod_are_named(kfp, capsys):
    kfp.outcome = FAILED
    assert run_it(kfp) == 1
    told = capsys.readouterr().err
    assert "error: train:" in told
    assert "kubectl logs digits-x1-train-impl" in told


def test_a_terminated_run_says_so(kfp, capsys):
    kfp.outcome = [("prep-data", "RUNNING"), ("run", "FAILED")]
    assert run_it(kfp) == 1
    assert "terminated, or never got a pod" in capsys.readouterr().err


def test_a_server_that_is_away_for_a_while_is_waited_for(kfp):
    kfp.outcome = UNCHANGED
    kubeflow, told = client(kfp), []
    uploaded = upload_pipeline(
        kubeflow, upload.compile_workload("diabetes", upload.images_of(ARGUMENTS)), "a summary"
    )
    body = {"experiment_id": kubeflow.experiment("diabetes"), "display_name": "r"}
    body["pipeline_version_reference"] = {
        "pipeline_id": uploaded.pipeline_id,
        "pipeline_version_id": uploaded.version_id,
    }
    run_id = kubeflow.start_run(body)["run_id"]
    down = iter([True] * 14 + [False] * 1000)

    def fail(method, path):
        if next(down):
            raise Refused(503, {"message": "upstream connect error"})

    kfp.fail = fail
    ended = follow(kubeflow, run_id, lambda *news: told.append(news), deadline=60)
    assert ended["state"] == "SUCCEEDED"
    assert ("prep-data", "done", "") in told
    kfp.fail = fail_always
    with pytest.raises(TransientError, match="503 upstream connect error"):
        follow(kubeflow, run_id, lambda *_: None, deadline=1000, interval=100)


def fail_always(*_):
    raise Refused(503, {"message": "upstream connect error"})


class ARGUMENTS:
    registry, tag, digests = "r.example", "t", None


def test_a_run_that_never_ends_is_not_followed_for_ever(kfp, capsys):
    kfp.outcome = [("prep-data", "RUNNING"), ("run", "RUNNING")]
    assert run_it(kfp, "--timeout", "60") == 75
    assert "has not ended after 60 s" in capsys.readouterr().err


def test_a_start_is_not_repeated(kfp, capsys):
    def fail(method, path):
        if (method, path) == ("POST", "/apis/v2beta1/runs"):
            raise Refused(500, {"message": "etcd timeout"})

    kfp.fail = fail
    assert run_it(kfp) == 75
    assert kfp.requests.count(("POST", "/apis/v2beta1/runs")) == 1


def test_dry_run_changes_nothing(kfp, capsys):
    assert run_it(kfp, "--dry-run", "--tag", "abc") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["uploaded"] is False
    assert plan["images"]["train"] == "continuous-training/train:abc"
    assert {method for method, _ in kfp.requests} == {"GET"}


def test_credentials_come_from_the_environment_or_a_file_that_rotates(kfp, monkeypatch, tmp_path, capsys):
    kfp.token = "one"  # noqa: S105
    assert upload.main(["--workload", "diabetes", "--host", kfp.url]) == 2
    assert "does not let this in (401" in capsys.readouterr().err
    monkeypatch.setenv("CT_KFP_TOKEN", "one")
    assert upload.main(["--workload", "diabetes", "--host", kfp.url]) == 0
    file = tmp_path / "token"
    file.write_text("one\n")
    kubeflow = Kubeflow(find_access({"CT_KFP_TOKEN_FILE": str(file)}, kfp.url), backoff=0)
    assert kubeflow.pipeline("diabetes")
    kfp.token = "two"  # noqa: S105
    with pytest.raises(UserError, match="expired"):
        kubeflow.pipeline("diabetes")
    file.write_text("two\n")
    assert kubeflow.pipeline("diabetes")


def test_the_sdks_context_and_environment_are_known(tmp_path):
    context = tmp_path / ".config/kfp/context.json"
    context.parent.mkdir(parents=True)
    context.write_text(json.dumps({"namespace": "team", "client_authentication_cookie": "session=1"}))
    access = find_access({"HOME": str(tmp_path), "KF_PIPELINES_ENDPOINT": "https://kf.example/pipeline/"})
    assert (access.host, access.namespace) == ("https://kf.example/pipeline", "team")
    assert access.headers() == {"Cookie": "session=1"}
    in_pod = find_access({"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert in_pod.host == "http://ml-pipeline.kubeflow.svc.cluster.local:8888"


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (None, "kubectl port-forward"),
        ("kf.example", "give http"),
        ("https://me:pw@kf.example", "holds credentials"),
    ],
)
def test_an_address_that_is_none_is_refused(host, said):
    with pytest.raises(UserError, match=said):
        find_access({}, host)


def test_nobody_answers(kfp, capsys):
    assert upload.main(["--workload", "diabetes", "--host", "http://127.0.0.1:1"]) == 75
    assert "cannot be reached: " in capsys.readouterr().err


def test_what_answers_is_something_else():
    from tests.fakes import web

    with (
        web(lambda *_: (200, b"<html>login</html>")) as page,
        pytest.raises(UserError, match="no JSON"),
    ):
        Kubeflow(find_access({}, page.url), backoff=0).pipeline("x")


def test_ctrl_c_leaves_the_run_alone_and_says_where_it_is(tmp_path):
    with kfp_server() as kfp:
        kfp.outcome = [("prep-data", "RUNNING")]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pipelines.run", "--target", "cluster"),
                *("--workload", "diabetes", "--host", kfp.url),
            ],
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        assert process.stderr is not None
        for line in process.stderr:
            if "/#/runs/details/" in line:
                break
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "the run goes on" in told
        assert not [path for method, path in kfp.requests if "terminate" in path]


def test_states_of_one_step_are_read_together():
    entries = [("train-driver", "SUCCEEDED"), ("train", "RUNNING"), ("train(0)", "FAILED"), ("archive", None)]
    details = [{"display_name": name, "state": state} for name, state in entries]
    found = steps_of({"state": "FAILED", "run_details": {"task_details": details}})
    assert {name: step.state for name, step in found.items()} == {"train": "FAILED"}


@pytest.mark.parametrize(
    ("tasks", "over", "state"),
    [
        ((("train", "RUNNING"), ("train(0)", "FAILED")), False, "RUNNING"),
        ((("train", "RUNNING"), ("train(0)", "FAILED"), ("train(1)", "RUNNING")), False, "RUNNING"),
        ((("train", "SUCCEEDED"), ("train(0)", "FAILED"), ("train(1)", "SUCCEEDED")), True, "SUCCEEDED"),
        ((("train", "FAILED"), ("train(0)", "FAILED"), ("train(1)", "FAILED")), True, "FAILED"),
        ((("train", "RUNNING"), ("train(0)", "FAILED"), ("train(1)", "FAILED")), True, "FAILED"),
    ],
)
def test_a_try_that_failed_is_not_the_steps_end(tasks, over, state):
    details = [{"display_name": name, "state": told} for name, told in tasks]
    run = {"state": "FAILED" if over else "RUNNING", "run_details": {"task_details": details}}
    assert {name: step.state for name, step in steps_of(run).items()} == {"train": state}
