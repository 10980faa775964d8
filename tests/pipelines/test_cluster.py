"""Uploading, running and following a pipeline on a Kubeflow server, by the command lines."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.artifacts.step_failure import StepFailure
from continuous_training.core.errors import TransientError, UserError
from continuous_training.core.user import user_name
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.api_objects import Run, RunRequest
from continuous_training.kubeflow.connection import resolve_connection
from continuous_training.kubeflow.follow_run import follow, steps_of
from continuous_training.kubeflow.upload import upload as upload_pipeline
from pipelines import logs, run, upload
from pipelines.compile import compile_workload
from pipelines.images import Images
from pipelines.run_evidence import RunEvidence
from tests.fakes import web, write_kubeconfig
from tests.kfp_server import ApiError, kfp_server
from tests.s3 import ACCESS

ROOT = Path(__file__).parents[2]
STEPS = ("prep-data", "train", "evaluate", "archive", "deploy-serving", "notify")
PROMOTED = [(step, state) for step in STEPS for state in ("RUNNING", "SUCCEEDED")] + [("run", "SUCCEEDED")]
UNCHANGED = [("prep-data", "SUCCEEDED"), ("train", "SKIPPED"), ("notify", "SUCCEEDED"), ("run", "SUCCEEDED")]
REJECTED = [*PROMOTED[:6], ("archive", "SKIPPED"), ("notify", "SUCCEEDED"), ("run", "SUCCEEDED")]
FAILED = [*PROMOTED[:3], ("train", "FAILED"), ("notify", "SUCCEEDED"), ("run", "FAILED")]
SPEC = "pipelineInfo: {name: x}\nroot: {}\nschemaVersion: 2.1.0\n"


@pytest.fixture
def kfp(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    for name in ("CT_STORE", "KF_PIPELINES_ENDPOINT", "CT_KFP_TOKEN", "CT_KFP_TOKEN_FILE", "CT_KFP_COOKIE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with kfp_server() as server:
        yield server


REGISTRY = ("--registry", "registry.example/ct")


def create_client(kfp):
    return KubeflowClient(resolve_connection({}, kfp.url), backoff=0)


def run_on_cluster(kfp, *arguments):
    return run.main(
        ["--target", "cluster", "--workload", "diabetes", "--host", kfp.url, *REGISTRY, *arguments]
    )


def always_unavailable(*_):
    raise ApiError(503, {"message": "upstream connect error"})


def test_upload_names_the_version_after_the_content_and_is_idempotent(kfp, capsys):
    assert upload.main(["--workload", "diabetes", "--host", kfp.url]) == 0
    output = capsys.readouterr().out
    (pipeline,) = kfp.pipelines.values()
    (version,) = kfp.versions.values()
    assert pipeline["name"] == "diabetes"
    assert version["name"].startswith("diabetes-")
    assert version["pipeline_spec"]["pipelineInfo"]["name"] == "diabetes"
    assert "uploaded" in output
    url = f"/#/pipelines/details/{pipeline['pipeline_id']}/version/{version['pipeline_version_id']}"
    assert url in output
    assert upload.main(["--workload", "diabetes", "--host", kfp.url]) == 0
    assert "already exists" in capsys.readouterr().out
    assert upload.main(["--workload", "diabetes", "--host", kfp.url, "--tag", "abc"]) == 0
    assert (len(kfp.pipelines), len(kfp.versions)) == (1, 2)


def test_the_printed_command_runs_the_uploaded_version(kfp, capsys):
    assert upload.main(["--workload", "diabetes", "--host", kfp.url, *REGISTRY, "--tag", "abc"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("run it:")]
    arguments = shlex.split(line.partition("pipelines.run ")[2])
    assert run.main([*arguments, "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["uploaded"]


def test_a_run_with_images_without_a_registry_is_rejected_before_any_request(kfp, capsys):
    assert run.main(["--target", "cluster", "--workload", "diabetes", "--host", kfp.url]) == 2
    assert "the images have no registry" in capsys.readouterr().err
    assert kfp.requests == []


def test_lists_are_read_to_the_last_page(kfp):
    kfp.page_size = 2
    pipeline_id = create_client(kfp).create_pipeline("diabetes", "text")
    created = [kfp.create_version(pipeline_id, f"v{number}", "", {}) for number in range(5)]
    version = create_client(kfp).find_version(pipeline_id, "v4")
    assert version.version_id == created[4]["pipeline_version_id"]
    assert create_client(kfp).find_version(pipeline_id, "v5") is None


def test_a_conflict_returns_the_existing_object(kfp):
    pipeline_id = create_client(kfp).create_pipeline("diabetes", "text")
    assert create_client(kfp).create_pipeline("diabetes", "text") == pipeline_id
    assert create_client(kfp).upload_version(pipeline_id, "v", "d", SPEC) is not None
    assert create_client(kfp).upload_version(pipeline_id, "v", "d", SPEC) is None


@pytest.mark.parametrize(
    ("outcome", "verdict", "exit_code"),
    [(PROMOTED, "promoted", 0), (REJECTED, "rejected", 3), (UNCHANGED, "unchanged", 0)],
)
def test_a_run_is_followed_to_its_verdict(kfp, capsys, outcome, verdict, exit_code):
    kfp.outcome = outcome
    assert run_on_cluster(kfp, "--set", "test_size=0.3", "--set", "features=bmi", "--json") == exit_code
    output = capsys.readouterr()
    result = json.loads(output.out)
    (started,) = kfp.runs.values()
    assert result["verdict"] == verdict
    assert result["page"] == f"{kfp.url}/#/runs/details/{started['run_id']}"
    assert started["runtime_config"]["parameters"] == {"test_size": 0.3, "features": "bmi"}
    assert result["page"] in output.err
    assert set(result["seconds"]) == {name for name, state in outcome if state == "SUCCEEDED"} - {"run"}


@pytest.mark.parametrize("logs", [{"notify": 'run result: {"run": "RUN", "verdict": "waiting"}\n'}, {}])
def test_a_run_whose_version_waits_for_approval(kfp, capsys, logs):
    kfp.outcome, kfp.logs = PROMOTED, logs
    assert run_on_cluster(kfp, "--set", "approval=required", "--json") == 5
    result = json.loads(capsys.readouterr().out)
    assert result["verdict"] == "waiting"
    assert result["approve"] == "python -m pipelines.approve --workload diabetes --cluster"


def test_the_user_who_started_a_run_is_recorded(kfp, bucket, monkeypatch):
    monkeypatch.setenv("CT_STORE", bucket.uri)
    for variable, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ACCESS, strict=True):
        monkeypatch.setenv(variable, value)
    kfp.outcome = PROMOTED
    assert run_on_cluster(kfp) == 0
    (run_id,) = kfp.runs
    assert RunHistory(open_store(bucket.uri), "diabetes").starter(run_id) == user_name()


def test_a_failure_names_the_step_and_the_command_for_its_log(kfp, capsys):
    kfp.outcome = FAILED
    assert run_on_cluster(kfp) == 1
    output = capsys.readouterr().err
    (run_id,) = kfp.runs
    assert "error: train: the step recorded no reason" in output
    labels = f"pipeline/runid={run_id},continuous-training/step=train"
    assert f"kubectl -n kubeflow logs -c main --tail=-1 -l {labels}" in output


def test_a_failure_has_the_exit_code_and_the_reason_that_the_step_recorded(kfp, bucket, monkeypatch, capsys):
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ACCESS, strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CT_STORE", bucket.uri)
    start_run = kfp.start_run

    def start_and_record_failure(body, *arguments):
        created = start_run(body, *arguments)
        failure = StepFailure(created["run_id"], "train", 75, "the source is away")
        RunHistory(open_store(bucket.uri), "diabetes").write_failure(failure)
        return created

    monkeypatch.setattr(kfp, "start_run", start_and_record_failure)
    kfp.outcome = FAILED
    assert run_on_cluster(kfp) == 75
    assert "error: train: the source is away; kubectl" in capsys.readouterr().err


def test_a_failure_is_read_from_the_log_of_the_pod_without_the_store(kfp, tmp_path, monkeypatch, capsys):
    log = '· reading\nI1129 launcher\nstep failed: {"exit_code": 4, "error": "odd responses"}\nI1129 exit\n'
    labels = {"continuous-training/step": "train"}
    metadata = {"name": "train-pod", "labels": labels, "creationTimestamp": "2026-11-29T10:00:00Z"}
    pods = [{"metadata": metadata, "status": {"phase": "Failed"}}]

    def answer(_, path):
        if path.startswith("/api/v1/namespaces/kubeflow/pods/train-pod/log"):
            return 200, log.encode()
        return 200, {"metadata": {"resourceVersion": "1"}, "items": pods}

    kfp.outcome = FAILED
    with web(answer) as cluster:
        write_kubeconfig(tmp_path / "kubeconfig", cluster.url)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        assert run_on_cluster(kfp, "--no-preflight", "--json") == 4
        result = json.loads(capsys.readouterr().out)
        assert result["verdict"] == "reverted"
        assert "odd responses; kubectl -n kubeflow logs train-pod -c main" in result["reasons"][0]
        assert logs.main([*kfp.runs, "train"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "train: Failed",
            "  reading",
            "  failed with exit code 4: odd responses",
            "  kubectl -n kubeflow logs train-pod -c main",
        ]
        pods.clear()
        assert logs.main([*kfp.runs]) == 2
        assert "has no pods in namespace kubeflow" in capsys.readouterr().err


def test_the_reason_of_a_step_that_does_not_start_is_printed_once(kfp, tmp_path, monkeypatch, capsys):
    message = "0/1 nodes are available: 1 Insufficient memory."
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    metadata = {"name": "train-pod", "labels": {"continuous-training/step": "train"}}
    pods = [{"metadata": metadata, "status": {"phase": "Pending", "conditions": [scheduled]}}]
    kfp.outcome = [*PROMOTED[:2], *[("train", "RUNNING")] * 40, *PROMOTED[3:]]
    # The result is read through the API, so all requests to Kubernetes are about delays.
    kfp.logs = {"notify": 'run result: {"run": "RUN", "verdict": "promoted"}\n'}
    with web(lambda *_: (200, {"metadata": {"resourceVersion": "1"}, "items": pods})) as cluster:
        write_kubeconfig(tmp_path / "kubeconfig", cluster.url)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        assert run_on_cluster(kfp, "--no-preflight") == 0
    lines = [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]
    reason = f"train: pod train-pod cannot be scheduled: {message}"
    assert [line for line in lines if line.startswith("train:")] == ["train: starts", reason]
    selector = "labelSelector=pipeline%2Frunid%3D" + next(iter(kfp.runs))
    assert selector in cluster.requests[0][1]
    assert 3 <= len(cluster.requests) <= 4


@pytest.mark.parametrize("deleted", [True, False])
def test_a_deleted_workflow_is_reported(kfp, tmp_path, monkeypatch, capsys, deleted):
    """Observed on a real server: the API reports such a run as RUNNING for ever."""
    kfp.outcome = [*PROMOTED[:2], *[("train", "RUNNING")] * 40, *PROMOTED[3:]]
    kfp.logs = {"notify": 'run result: {"run": "RUN", "verdict": "promoted"}\n'}

    def answer(_, path):
        rows = [{"metadata": {"name": "digits-x4cfj"}}] if "/workflows?" in path and not deleted else []
        return 200, {"metadata": {"resourceVersion": "1"}, "items": rows}

    with web(answer) as cluster:
        write_kubeconfig(tmp_path / "kubeconfig", cluster.url)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        assert run_on_cluster(kfp, "--no-preflight") == 0
    reports = capsys.readouterr().err.count("kubeflow: namespace kubeflow has no Workflow of this run")
    assert reports == (1 if deleted else 0)


def test_a_cluster_that_cannot_be_read_does_not_end_a_slow_run(kfp):
    kfp.outcome = [*PROMOTED[:2], *[("train", "RUNNING")] * 20, *PROMOTED[3:]]
    assert run_on_cluster(kfp) == 0


@pytest.mark.parametrize("state", ["FAILED", "SUCCEEDED"])
def test_a_failed_comparison_of_endpoint_and_registry_is_reported(kfp, capsys, state):
    kfp.outcome = [*UNCHANGED[:2], ("notify", "FAILED"), ("run", state)]
    assert run_on_cluster(kfp) == 6
    output = capsys.readouterr().err
    assert "error: notify:" in output
    assert "Endpoint and registry may disagree" in output
    assert "python -m pipelines.status" in output


def test_a_fixed_parameter_is_not_passed_to_the_run(kfp, capsys):
    arguments = ["--host", kfp.url, "--workload", "nsmc", *REGISTRY]
    assert upload.main([*arguments, "--set", "model=fast"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("run it:")]
    assert line.endswith("--fix model=fast")
    command = ["--target", "cluster", *arguments, "--fix", "model=fast", "--set", "passes=5"]
    assert run.main([*command, "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["uploaded"], plan["parameters"]) == (True, {"passes": 5})
    kfp.outcome = PROMOTED
    assert run.main([*command, "--set", "model=fast"]) == 0
    (started,) = kfp.runs.values()
    assert started["runtime_config"]["parameters"] == {"passes": 5}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (["--fix", "model=fast", "--set", "model=deep"], "differs from --fix model=fast"),
        (["--fix", "modle=fast"], "did you mean model?"),
    ],
)
def test_a_run_with_another_value_than_the_fixed_one_is_rejected_before_any_request(
    kfp, capsys, parameters, message
):
    arguments = ["--target", "cluster", "--host", kfp.url, "--workload", "nsmc", *REGISTRY]
    assert run.main([*arguments, *parameters]) == 2
    assert message in capsys.readouterr().err
    assert kfp.requests == []


@pytest.mark.parametrize("failed", [[], [("train", "FAILED")]])
def test_a_recorded_disagreement_of_endpoint_and_registry_is_reported(kfp, capsys, monkeypatch, failed):
    verdict = "failed" if failed else "unchanged"
    record = RunRecord(run="r", verdict=verdict, disagreement="3 is the champion, 2 is served; run a command")
    monkeypatch.setattr(RunEvidence, "stored_record", lambda _: record)
    kfp.outcome = [("prep-data", "SUCCEEDED"), *failed, ("notify", "FAILED"), ("run", "FAILED")]
    assert run_on_cluster(kfp) == 6
    output = capsys.readouterr().err
    assert f"The run's verdict: {verdict}. 3 is the champion, 2 is served; run a command" in output
    assert ("train:" in output) is bool(failed)


def test_a_run_without_a_failed_step(kfp, capsys):
    kfp.outcome = [("prep-data", "RUNNING"), ("run", "FAILED")]
    assert run_on_cluster(kfp) == 1
    assert "it was terminated, or no pod was started" in capsys.readouterr().err


TERMINATED = [*PROMOTED[:3], ("run", "CANCELING"), ("train", "FAILED"), ("run", "FAILED")]


def test_a_terminated_run_is_reported_recorded_and_announced_once(kfp, bucket, monkeypatch, capsys):
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ACCESS, strict=True):
        monkeypatch.setenv(name, value)
    kfp.outcome = TERMINATED
    assert run_on_cluster(kfp, "--json") == 130
    result = json.loads(capsys.readouterr().out)
    assert result["verdict"] == "interrupted"
    assert "the run was terminated" in result["reasons"][0]
    monkeypatch.setenv("CT_STORE", bucket.uri)
    history = RunHistory(open_store(bucket.uri), "diabetes")
    assert run_on_cluster(kfp) == 130
    assert history.runs() == [], "without a webhook, the next run announces it"
    with web(lambda *_: (200, b"ok")) as webhook:
        monkeypatch.setenv("CT_WEBHOOK", webhook.url)
        assert run_on_cluster(kfp) == 130
    (_, _, message), *others = webhook.requests
    assert json.loads(message)["text"].startswith("diabetes: interrupted. the run was terminated")
    assert others == []
    assert [(record.run, record.verdict) for record in history.runs()] == [
        (list(kfp.runs)[-1], "interrupted")
    ]


@pytest.mark.parametrize(
    ("states", "terminated"),
    [
        (["PENDING", "RUNNING", "CANCELING"], True),
        (["PENDING", "RUNNING", "CANCELING", "FAILED"], True),
        (["PENDING", "RUNNING", "CANCELING", "FAILED", "PENDING", "RUNNING", "FAILED"], False),
        (["PENDING", "RUNNING", "FAILED"], False),
    ],
)
def test_a_run_that_was_retried_after_its_termination_is_not_terminated(states, terminated):
    history = [{"state": state} for state in states]
    row = {"run_id": "r", "state": states[-1], "state_history": history}
    assert Run.from_json(row).terminated is terminated


def test_follow_tolerates_a_temporary_outage(kfp):
    kfp.outcome = UNCHANGED
    client, events = create_client(kfp), []
    uploaded = upload_pipeline(client, compile_workload("diabetes", Images("r.example", "t")), "a summary")
    request = RunRequest(client.experiment("diabetes"), "r", uploaded.version)
    run_id = client.start_run(request).run_id
    outage = iter([True] * 14 + [False] * 1000)

    def fail(method, path):
        if next(outage):
            always_unavailable()

    kfp.fail = fail
    ended = follow(client, run_id, lambda *event: events.append(event), deadline=60)
    assert ended.state == "SUCCEEDED"
    assert ("prep-data", "done", "") in events
    kfp.fail = always_unavailable
    with pytest.raises(TransientError, match="503 upstream connect error"):
        follow(client, run_id, lambda *_: None, deadline=1000, interval=100)


def test_a_run_that_does_not_end_is_followed_until_the_timeout(kfp, capsys):
    kfp.outcome = [("prep-data", "RUNNING"), ("run", "RUNNING")]
    assert run_on_cluster(kfp, "--timeout", "60") == 75
    assert "did not end within 60 s" in capsys.readouterr().err


def test_a_failed_start_is_not_retried(kfp):
    def fail(method, path):
        if (method, path) == ("POST", "/apis/v2beta1/runs"):
            raise ApiError(500, {"message": "etcd timeout"})

    kfp.fail = fail
    assert run_on_cluster(kfp) == 75
    assert kfp.requests.count(("POST", "/apis/v2beta1/runs")) == 1


def test_dry_run_changes_nothing(kfp, capsys):
    assert run_on_cluster(kfp, "--dry-run", "--tag", "abc") == 0
    plan = json.loads(capsys.readouterr().out)
    assert list(plan) == [
        "workload",
        "pipeline",
        "uploaded",
        "parameters",
        "images",
        "host",
        "service_account",
    ]
    assert plan["uploaded"] is False
    assert plan["images"]["train"] == "registry.example/ct/train:abc"
    assert {method for method, _ in kfp.requests} == {"GET"}


def test_a_denied_request_without_a_namespace_is_explained():
    """As a Kubeflow with several users responds to an upload without --namespace: to the shared pipelines."""
    denial = {"code": 7, "message": "Failed to access shared pipeline"}
    with web(lambda *_: (403, denial)) as server:
        for namespace, is_explained in (("", True), ("team-a", False)):
            client = KubeflowClient(resolve_connection({}, server.url, namespace), backoff=0)
            with pytest.raises(UserError, match=r"denied access \(403") as error:
                client.find_pipeline("digits")
            assert ("pass --namespace with the name of your profile" in str(error.value)) is is_explained


def test_credentials_are_read_from_the_environment_or_a_file_that_rotates(kfp, monkeypatch, tmp_path, capsys):
    kfp.token = "one"  # noqa: S105
    assert upload.main(["--workload", "diabetes", "--host", kfp.url]) == 2
    assert "denied access (401" in capsys.readouterr().err
    monkeypatch.setenv("CT_KFP_TOKEN", "one")
    assert upload.main(["--workload", "diabetes", "--host", kfp.url]) == 0
    file = tmp_path / "token"
    file.write_text("one\n")
    client = KubeflowClient(resolve_connection({"CT_KFP_TOKEN_FILE": str(file)}, kfp.url), backoff=0)
    assert client.find_pipeline("diabetes")
    kfp.token = "two"  # noqa: S105
    with pytest.raises(UserError, match="expired"):
        client.find_pipeline("diabetes")
    file.write_text("two\n")
    assert client.find_pipeline("diabetes")


def test_the_connection_is_read_from_the_sdk_context_and_the_environment(tmp_path):
    context = tmp_path / ".config/kfp/context.json"
    context.parent.mkdir(parents=True)
    context.write_text(json.dumps({"namespace": "team", "client_authentication_cookie": "session=1"}))
    environment = {"HOME": str(tmp_path), "KF_PIPELINES_ENDPOINT": "https://kf.example/pipeline/"}
    connection = resolve_connection(environment)
    assert (connection.host, connection.namespace) == ("https://kf.example/pipeline", "team")
    assert connection.headers() == {"Cookie": "session=1"}
    in_pod = resolve_connection({"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert in_pod.host == "http://ml-pipeline.kubeflow.svc.cluster.local:8888"


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (None, "kubectl port-forward"),
        ("kf.example", "is not valid: use http"),
        ("https://me:pw@kf.example", "contains credentials"),
    ],
)
def test_an_invalid_address_is_rejected(host, message):
    with pytest.raises(UserError, match=message):
        resolve_connection({}, host)


def test_an_unreachable_server_is_a_transient_error(kfp, capsys):
    assert upload.main(["--workload", "diabetes", "--host", "http://127.0.0.1:1"]) == 75
    assert "cannot be reached: " in capsys.readouterr().err


def test_a_server_that_is_not_kubeflow_is_rejected():
    with (
        web(lambda *_: (200, b"<html>login</html>")) as page,
        pytest.raises(UserError, match="is not Kubeflow Pipelines"),
    ):
        KubeflowClient(resolve_connection({}, page.url), backoff=0).find_pipeline("x")


def test_ctrl_c_ends_the_command_and_not_the_run(tmp_path):
    with kfp_server() as kfp:
        kfp.outcome = [("prep-data", "RUNNING")]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pipelines.run", "--target", "cluster"),
                *("--workload", "diabetes", "--host", kfp.url, *REGISTRY),
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
        _, output = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "the run continues" in output
        assert not [path for method, path in kfp.requests if "terminate" in path]


def create_run(state, tasks):
    details = [{"display_name": name, "state": task_state} for name, task_state in tasks]
    return Run.from_json({"run_id": "r", "state": state, "run_details": {"task_details": details}})


def test_the_state_of_a_step_is_derived_from_all_its_entries():
    tasks = [("train-driver", "SUCCEEDED"), ("train", "RUNNING"), ("train(0)", "FAILED"), ("archive", None)]
    steps = steps_of(create_run("FAILED", tasks))
    assert {name: step.state for name, step in steps.items()} == {"train": "FAILED"}


@pytest.mark.parametrize(
    ("tasks", "run_state", "state"),
    [
        ((("train", "RUNNING"), ("train(0)", "FAILED")), "RUNNING", "RUNNING"),
        ((("train", "RUNNING"), ("train(0)", "FAILED"), ("train(1)", "RUNNING")), "RUNNING", "RUNNING"),
        ((("train", "SUCCEEDED"), ("train(0)", "FAILED"), ("train(1)", "SUCCEEDED")), "FAILED", "SUCCEEDED"),
        ((("train", "FAILED"), ("train(0)", "FAILED"), ("train(1)", "FAILED")), "FAILED", "FAILED"),
        ((("train", "RUNNING"), ("train(0)", "FAILED"), ("train(1)", "FAILED")), "FAILED", "FAILED"),
    ],
)
def test_a_failed_attempt_is_not_the_end_of_the_step(tasks, run_state, state):
    steps = steps_of(create_run(run_state, tasks))
    assert {name: step.state for name, step in steps.items()} == {"train": state}
