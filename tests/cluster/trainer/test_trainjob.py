"""The train step on several nodes with a real API server: its objects, its outcomes and its clean-up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.prep_data import step as prep_data
from components.train import step as train
from components.train.nodes.launcher import MARGIN, Step, manifest_of, name_of, restore_integers, run_on_nodes
from components.train.nodes.object_store_exchange import Exchange
from continuous_training.adapters.kubernetes import trainjob_client
from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.connection import connect
from continuous_training.adapters.kubernetes.errors import error_of
from continuous_training.adapters.kubernetes.node_failures import NodeLostError
from continuous_training.adapters.kubernetes.resources import JOB, POD, SERVICE_ACCOUNT, Resource
from continuous_training.adapters.kubernetes.trainjob_client import TRAIN_JOB
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.artifacts.bundle import BundleMetadata
from continuous_training.core.digest import digest_of_folder
from continuous_training.core.errors import PipelineError, StepTimeoutError, TransientError, UserError
from pipelines.steps.settings import StepSettings
from pipelines.steps.trainjob_spec import trainjob_spec
from tests import s3
from tests.pipelines import golden
from tests.s3 import Bucket
from workloads import discovery

from ..cluster_namespace import kubectl
from ..polling import wait_until
from .simulated_controller import SimulatedController, run_in_background

ROOT = Path(__file__).parents[3]
WORKLOAD = discovery.get("diabetes")
LOG_LINES = 'i=0; while [ $i -lt 3 ]; do echo "· node $JOB_COMPLETION_INDEX says $i"; i=$((i+1)); done'
CONTINUE_FILE = "/tmp/go"
KILLED = "exit 137"
"""Ends like a container that SIGKILL ended. Process 1 of a container cannot kill itself."""
WAIT_SCRIPT = "trap 'exit 1' TERM; sleep 600 & wait"


@pytest.fixture(scope="module")
def prepared_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset, and the model bundle that the nodes would produce from it."""
    folder = tmp_path_factory.mktemp("diabetes")
    prep_data.run(WORKLOAD, {}, folder / "data")
    train.run(WORKLOAD, {}, folder / "data", folder / "bundle")
    return folder / "data", folder / "bundle"


@pytest.fixture
def store(bucket: Bucket) -> ObjectStore:
    return open_store(bucket.uri, s3.ACCESS)


def spec_of(**changes: Any) -> Object:
    settings = StepSettings(timeout=600, nodes=2, cpu="10m", memory="64Mi", shared_memory="16Mi")
    return {**trainjob_spec(settings, "registry.example/ct/train-torch:1"), **changes}


class TrainStep:
    """The train step of one run, in this process."""

    def __init__(
        self, cluster: Cluster, store: ObjectStore, prepared_files: tuple[Path, Path], output: Path
    ) -> None:
        self.cluster, self.store, self.data, self.bundle = cluster, store, *prepared_files
        self.output, self.messages = output, list[str]()
        self.step = Step(run="a-run")
        input_digest = json.loads((self.data / "dataset.json").read_text())["recipe"]
        self.name = name_of(WORKLOAD, input_digest, self.step)
        self.exchange = Exchange(store, f"trainjobs/{self.name}")

    def __call__(self, spec: Object | None = None) -> BundleMetadata:
        return run_on_nodes(
            *(WORKLOAD, {}, self.data, self.output, spec or spec_of()),
            *(self.cluster, self.store, replace(self.step, started=time.monotonic()), self.messages.append),
        )

    def store_bundle(self) -> None:
        self.exchange.put_bundle(self.bundle)

    def remaining_objects(self) -> list[str]:
        """Return the names of the remaining TrainJobs and of the remaining objects in the store."""
        return [
            *(train_job["metadata"]["name"] for train_job in self.cluster.find(TRAIN_JOB)),
            *self.store.keys("trainjobs"),
        ]

    def pods(self) -> list[Object]:
        return self.cluster.find(POD, f"jobset.sigs.k8s.io/jobset-name={self.name}")


@pytest.fixture
def train_step(
    cluster: Cluster, store: ObjectStore, prepared_files: tuple[Path, Path], tmp_path: Path
) -> TrainStep:
    return TrainStep(cluster, store, prepared_files, tmp_path / "model")


def test_success_downloads_the_model_and_leaves_no_objects(
    train_step: TrainStep, controller: SimulatedController, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.script, controller.before_complete = LOG_LINES, train_step.store_bundle
    with run_in_background(controller):
        metadata = train_step()
    assert digest_of_folder(train_step.output) == digest_of_folder(train_step.bundle)
    assert metadata.to_json() == json.loads((train_step.bundle / "model.json").read_text())
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "says" in line] == [f"· node 0 says {number}" for number in range(3)]
    assert f"TrainJob {train_step.name} is created" in train_step.messages
    assert train_step.remaining_objects() == []
    assert train_step.cluster.get(JOB, f"{train_step.name}-node-0") is None
    assert wait_until(lambda: not train_step.pods())


CLUSTER_RUNTIME = {"name": "torch-distributed", "kind": "ClusterTrainingRuntime"}


@pytest.mark.parametrize("runtime", [{}, CLUSTER_RUNTIME], ids=["shipped", "torch-distributed"])
def test_failure_reports_the_exit_code_and_the_last_log_lines(
    train_step: TrainStep, controller: SimulatedController, runtime: dict[str, str]
) -> None:
    """The first failure ends the training, also with a runtime that starts a failed node again."""
    controller.script = "echo · epoch 1; echo torch.OutOfMemoryError: no more >&2; exit 7"
    spec = spec_of()
    spec["runtimeRef"] |= runtime
    with run_in_background(controller), pytest.raises(PipelineError) as raised:
        train_step(spec)
    message = str(raised.value)
    assert f"TrainJob {train_step.name} has failed: {train_step.name}-node-0-" in message
    assert "ended with exit code 7 (Error)" in message
    assert "torch.OutOfMemoryError: no more" in message
    assert not isinstance(raised.value, UserError | TransientError)
    assert train_step.remaining_objects() == []
    assert not train_step.output.exists()


def test_a_node_is_started_once(train_step: TrainStep, controller: SimulatedController) -> None:
    controller.script = "exit 7"
    with run_in_background(controller), pytest.raises(PipelineError, match="exit code 7"):
        train_step()
    (job,) = controller.created_jobs
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("action", ["delete the pod", "kill the process"])
def test_a_lost_node_is_a_transient_error(
    train_step: TrainStep, controller: SimulatedController, action: str
) -> None:
    controller.script = KILLED if action == "kill the process" else f"echo · epoch 1; {WAIT_SCRIPT}"

    def delete_node() -> None:
        assert wait_until(lambda: any(is_running(pod) for pod in train_step.pods()))
        train_step.cluster.delete(POD, train_step.pods()[0]["metadata"]["name"])

    if action == "delete the pod":
        threading.Thread(target=delete_node, daemon=True).start()
    with run_in_background(controller), pytest.raises(NodeLostError) as raised:
        train_step()
    assert f"TrainJob {train_step.name} has failed" in str(raised.value)
    assert train_step.remaining_objects() == []


def is_running(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return any("running" in status["state"] for status in statuses)


def test_a_step_resumes_a_training_whose_node_was_lost(
    train_step: TrainStep, controller: SimulatedController, start_step: Callable[..., subprocess.Popen[str]]
) -> None:
    controller.script = KILLED
    controller.before_complete = train_step.store_bundle
    with run_in_background(controller):
        process = start_step(CT_RETRIES="1", CT_RETRY_BACKOFF="5")
        lines = read_until(process, "retry 1 of 1 in 5 s")
        controller.script = LOG_LINES
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert any("ended with exit code 137" in line for line in lines), lines
    assert len(controller.created_jobs) == 2
    assert digest_of_folder(train_step.output) == digest_of_folder(train_step.bundle)
    assert train_step.remaining_objects() == []


def test_a_step_does_not_retry_a_failed_training(
    train_step: TrainStep, controller: SimulatedController, start_step: Callable[..., subprocess.Popen[str]]
) -> None:
    controller.script = "echo ValueError: bad shape; exit 1"
    with run_in_background(controller):
        output, _ = start_step(CT_RETRIES="2", CT_RETRY_BACKOFF="0.1").communicate(timeout=120)
    assert "retry" not in output
    assert "ValueError: bad shape" in output
    assert len(controller.created_jobs) == 1


def test_a_missing_runtime_is_a_user_error(train_step: TrainStep, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of the webhook of trainer 2.3.0 for a runtime that does not exist."""
    message = (
        'admission webhook "validator.trainjob.trainer.kubeflow.org" denied the request: spec.runtimeRef: '
        'Invalid value: TrainingRuntime.trainer.kubeflow.org "continuous-training" not found: specified '
        "trainingRuntime must be created before the TrainJob is created"
    )

    def refuse(*_: object, **__: object) -> Object:
        raise error_of(403, {"message": message}, f"apply TrainJob {train_step.name}", "the step")

    monkeypatch.setattr(train_step.cluster, "apply", refuse)
    with pytest.raises(UserError, match="apply manifests/components/trainer, or set training_runtime"):
        train_step()


def test_user_error_in_a_pod_ends_the_step(train_step: TrainStep, controller: SimulatedController) -> None:
    report = json.dumps({"exit_code": 2, "error": "the rows have no target; prepare them again"})
    controller.script = f"echo 'step failed: {report}'; {WAIT_SCRIPT}"
    with (
        run_in_background(controller),
        pytest.raises(UserError, match="the rows have no target; prepare them again"),
    ):
        train_step()
    assert train_step.remaining_objects() == []


def test_complete_trainjob_with_a_running_job_is_an_error(
    train_step: TrainStep, controller: SimulatedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainjob_client, "SETTLING", 2.0)
    controller.script, controller.reports_complete_early = WAIT_SCRIPT, True
    with (
        run_in_background(controller),
        pytest.raises(PipelineError, match="is complete according to its condition, but 0 of 2 pods"),
    ):
        train_step()
    assert train_step.remaining_objects() == []


def test_complete_trainjob_without_a_model_is_an_error(
    train_step: TrainStep, controller: SimulatedController
) -> None:
    controller.script = "true"
    with run_in_background(controller), pytest.raises(PipelineError, match="ended without leaving a model"):
        train_step()
    assert train_step.remaining_objects() == []
    assert not train_step.output.exists()


def test_timeout_is_a_transient_error(train_step: TrainStep, controller: SimulatedController) -> None:
    controller.script = f"echo · epoch 1; {WAIT_SCRIPT}"
    with run_in_background(controller), pytest.raises(StepTimeoutError) as raised:
        train_step(spec_of(activeDeadlineSeconds=MARGIN + 10))
    assert "increase the timeout of train" in str(raised.value)
    assert "· epoch 1" in str(raised.value)
    assert train_step.remaining_objects() == []


def test_reason_of_the_wait_is_reported(train_step: TrainStep, controller: SimulatedController) -> None:
    spec = spec_of(activeDeadlineSeconds=MARGIN + 8)
    spec["trainer"]["resourcesPerNode"] = {"requests": {"cpu": "4000"}}
    with run_in_background(controller), pytest.raises(TransientError, match="has not ended after 8 s"):
        train_step(spec)
    assert any(
        "is waiting: Unschedulable: " in line and "Insufficient cpu" in line for line in train_step.messages
    ), train_step.messages


def test_missing_controller_is_reported(
    train_step: TrainStep, controller: SimulatedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainjob_client, "UNNOTICED", 1.0)
    with pytest.raises(TransientError, match="has not ended after 6 s"):
        train_step(spec_of(activeDeadlineSeconds=MARGIN + 6))
    assert "no pods yet: is the controller of Kubeflow Trainer running, and JobSet's?" in train_step.messages


def test_deleted_trainjob_is_an_error(train_step: TrainStep, controller: SimulatedController) -> None:
    controller.absent = True
    wait = trainjob_client.wait

    def delete_and_wait(cluster: Cluster, name: str, *rest: Any) -> None:
        cluster.delete(TRAIN_JOB, name)
        wait(cluster, name, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainjob_client, "wait", delete_and_wait)
        with pytest.raises(PipelineError, match="does not exist any more: it was deleted"):
            train_step()
    assert train_step.remaining_objects() == []


def test_missing_trainer_is_a_user_error(train_step: TrainStep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainjob_client, "TRAIN_JOB", Resource("nothere.example/v1", "TrainJob", "trainjobs"))
    with pytest.raises(UserError, match=r"has no TrainJobs: install Kubeflow Trainer 2\.2 or newer"):
        train_step()
    assert train_step.store.keys("trainjobs") == []


def test_older_trainer_is_refused_before_it_creates_objects(train_step: TrainStep) -> None:
    """An older version ignores the unknown field, and its pods would violate Pod Security."""
    manifest = manifest_of(WORKLOAD, train_step.name, train_step.exchange.key, spec_of(), train_step.step)
    apply = train_step.cluster.apply

    def apply_on_older_version(resource: Resource, body: Object, dry_run: bool = False) -> Object:
        supported = {key: value for key, value in body["spec"].items() if key != "runtimePatches"}
        return apply(resource, {**body, "spec": supported}, dry_run)

    train_step.cluster.apply = apply_on_older_version  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"install version 2\.2 or newer"):
        trainjob_client.start(train_step.cluster, manifest, print)
    assert train_step.cluster.find(TRAIN_JOB) == []


def kubeconfig(cluster: Cluster, folder: Path) -> Path:
    """Return a kubeconfig with the namespace of the test."""
    path = folder / "kubeconfig"
    path.write_text(Path(os.environ["KUBECONFIG"]).read_text())
    path.chmod(0o600)
    kubectl(
        "config", "set-context", "--current", f"--namespace={cluster.namespace}", "--kubeconfig", str(path)
    )
    return path


CODE = """
import json, sys
from types import SimpleNamespace
from components.train.__main__ import in_pipeline
data, model, spec = sys.argv[1:]
model = SimpleNamespace(path=model, metadata={})
in_pipeline("diabetes", "", json.loads(spec, parse_int=float), SimpleNamespace(path=data), model)
"""


@pytest.fixture
def start_step(train_step: TrainStep, bucket: Bucket, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """A function that starts the step in a separate process, as the pipeline does."""
    environment = {
        "KUBECONFIG": str(kubeconfig(train_step.cluster, tmp_path)),
        "CT_STORE": bucket.uri,
        "CT_RUN": train_step.step.run,
        "AWS_ACCESS_KEY_ID": s3.ACCESS[0],
        "AWS_SECRET_ACCESS_KEY": s3.ACCESS[1],
        "PYTHONUNBUFFERED": "1",
    }

    def start(**variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", CODE, str(train_step.data), str(train_step.output), json.dumps(spec_of())],
            cwd=ROOT,
            env={**os.environ, **environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """Read the output of the process up to the line that contains `text`; return the lines."""
    assert process.stdout
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError("".join(lines))


def test_cancelled_step_deletes_its_trainjob(
    train_step: TrainStep, controller: SimulatedController, start_step: Callable[[], subprocess.Popen[str]]
) -> None:
    controller.script = f"echo · epoch 1; {WAIT_SCRIPT}"
    with run_in_background(controller):
        process = start_step()
        read_until(process, "· epoch 1")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert "Traceback" not in output
    assert train_step.remaining_objects() == []
    assert wait_until(lambda: not train_step.pods())


def test_retry_of_a_killed_step_continues_its_trainjob(
    train_step: TrainStep, controller: SimulatedController, start_step: Callable[[], subprocess.Popen[str]]
) -> None:
    controller.script = f"echo · epoch 1; while [ ! -e {CONTINUE_FILE} ]; do sleep 0.1; done; {LOG_LINES}"
    controller.before_complete = train_step.store_bundle
    with run_in_background(controller):
        first = start_step()
        read_until(first, "· epoch 1")
        first.kill()
        first.communicate()
        (train_job,) = train_step.cluster.find(TRAIN_JOB)
        second = start_step()
        read_until(second, f"TrainJob {train_step.name} continues")
        for pod in train_step.pods():
            # The container may end before the command returns.
            name = pod["metadata"]["name"]
            subprocess.run(
                ["kubectl", "-n", train_step.cluster.namespace, "exec", name, "--", "touch", CONTINUE_FILE]
            )
        output, _ = second.communicate(timeout=120)
    assert second.returncode == 0, output
    assert "· node 0 says 2" in output
    assert len(controller.created_jobs) == 1, "the second attempt did not start a new Job"
    assert train_job["metadata"]["name"] == train_step.name
    assert digest_of_folder(train_step.output) == digest_of_folder(train_step.bundle)
    assert train_step.remaining_objects() == []


def test_stored_model_is_downloaded_without_a_second_training(
    train_step: TrainStep, controller: SimulatedController
) -> None:
    train_step.store_bundle()
    with run_in_background(controller):
        train_step()
    assert controller.created_jobs == []
    assert digest_of_folder(train_step.output) == digest_of_folder(train_step.bundle)
    assert train_step.remaining_objects() == []


def test_failed_trainjob_is_replaced(train_step: TrainStep, controller: SimulatedController) -> None:
    manifest = manifest_of(WORKLOAD, train_step.name, train_step.exchange.key, spec_of(), train_step.step)
    controller.script = "exit 1"
    with run_in_background(controller):
        train_step.cluster.apply(TRAIN_JOB, manifest)
        assert wait_until(lambda: has_failed(train_step))
        controller.script, controller.before_complete = "true", train_step.store_bundle
        train_step()
    assert len(controller.created_jobs) == 2
    assert f"TrainJob {train_step.name} is created" in train_step.messages


def test_trainjob_under_deletion_is_awaited(train_step: TrainStep, controller: SimulatedController) -> None:
    manifest = manifest_of(WORKLOAD, train_step.name, train_step.exchange.key, spec_of(), train_step.step)
    with_finalizer = {**manifest, "metadata": {**manifest["metadata"], "finalizers": ["example.com/held"]}}
    old = train_step.cluster.apply(TRAIN_JOB, with_finalizer)
    train_step.cluster.delete(TRAIN_JOB, train_step.name)
    release = threading.Timer(2, train_step.cluster.apply, (TRAIN_JOB, manifest))
    release.start()
    trainjob_client.start(train_step.cluster, manifest, train_step.messages.append)
    release.join()
    (new,) = train_step.cluster.find(TRAIN_JOB)
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert train_step.messages == [f"TrainJob {train_step.name} is created"]


def has_failed(train_step: TrainStep) -> bool:
    return (
        trainjob_client.condition(train_step.cluster.get(TRAIN_JOB, train_step.name) or {}, "Failed")
        is not None
    )


def test_trainjob_is_deleted_with_the_pod_of_the_step(
    train_step: TrainStep, controller: SimulatedController
) -> None:
    """If a killed step is not retried, the deletion of its pod also deletes its TrainJob."""
    container = {
        "name": "main",
        "image": controller.image,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    body = {"metadata": {"name": "step"}, "spec": {"containers": [container], "securityContext": security}}
    pod = train_step.cluster.create(POD, body)
    step = Step("a-run", "step", pod["metadata"]["uid"])
    trainjob_client.start(
        train_step.cluster,
        manifest_of(WORKLOAD, train_step.name, train_step.exchange.key, spec_of(), step),
        print,
    )
    train_step.cluster.delete(POD, "step")
    assert wait_until(lambda: train_step.cluster.find(TRAIN_JOB) == [])


def shipped_rules() -> list[dict[str, Any]]:
    role = next(yaml.safe_load_all((ROOT / "manifests/components/trainer/role.yaml").read_text()))
    return list(role["rules"])


def create_kubeconfig(cluster: Cluster, rules: list[dict[str, Any]], folder: Path) -> Path:
    """Create a service account with a Role of these rules; return its kubeconfig."""
    metadata, namespace = {"name": "steps"}, cluster.namespace
    authorization = "rbac.authorization.k8s.io"
    cluster.apply(SERVICE_ACCOUNT, {"metadata": metadata})
    cluster.apply(Resource(f"{authorization}/v1", "Role", "roles"), {"metadata": metadata, "rules": rules})
    reference = {"apiGroup": authorization, "kind": "Role", "name": "steps"}
    subject = {"kind": "ServiceAccount", "name": "steps", "namespace": namespace}
    binding = {"metadata": metadata, "roleRef": reference, "subjects": [subject]}
    cluster.apply(Resource(f"{authorization}/v1", "RoleBinding", "rolebindings"), binding)
    path = kubeconfig(cluster, folder)
    token = kubectl("-n", namespace, "create", "token", "steps").strip()
    kubectl("config", "set-credentials", "steps", f"--token={token}", "--kubeconfig", str(path))
    kubectl("config", "set-context", "--current", "--user=steps", "--kubeconfig", str(path))
    return path


@pytest.mark.parametrize("outcome", ["succeeds", "fails"])
def test_documented_role_is_sufficient(
    train_step: TrainStep, controller: SimulatedController, tmp_path: Path, outcome: str
) -> None:
    path = create_kubeconfig(train_step.cluster, shipped_rules(), tmp_path)
    own_step = TrainStep(
        connect(train_step.cluster.namespace, str(path)),
        train_step.store,
        (train_step.data, train_step.bundle),
        train_step.output,
    )
    controller.script = f"{LOG_LINES}; {'true' if outcome == 'succeeds' else 'exit 3'}"
    controller.before_complete = train_step.store_bundle
    with run_in_background(controller):
        if outcome == "succeeds":
            own_step()
        else:
            with pytest.raises(PipelineError, match="exit code 3"):
                own_step()
    assert not [line for line in own_step.messages if line.startswith("left behind")]
    assert train_step.remaining_objects() == []


@pytest.mark.parametrize("missing", range(4))
def test_each_rule_of_the_documented_role_is_necessary(
    train_step: TrainStep, controller: SimulatedController, tmp_path: Path, missing: int
) -> None:
    rules = shipped_rules()
    assert len(rules) == 4
    missing_resource = rules.pop(missing)["resources"][0]
    path = create_kubeconfig(train_step.cluster, rules, tmp_path)
    own_step = TrainStep(
        connect(train_step.cluster.namespace, str(path)),
        train_step.store,
        (train_step.data, train_step.bundle),
        train_step.output,
    )
    controller.script, controller.before_complete = LOG_LINES, train_step.store_bundle
    with run_in_background(controller):
        if missing_resource == "pods/log":
            own_step()
            assert not any("says" in line for line in own_step.messages)
        else:
            with pytest.raises(UserError, match=f"its Role lacks the verb .* on {missing_resource}"):
                own_step()


def test_compiled_spec_is_a_valid_trainjob(cluster: Cluster, tmp_path: Path) -> None:
    """The API server accepts the spec of the golden file, with its floats, in strict validation."""
    pipeline, _ = yaml.safe_load_all((golden.FOLDER / "mnist.nodes.yaml").read_text())
    tasks = (t for c in pipeline["components"].values() if "dag" in c for t in c["dag"]["tasks"].items())
    (argument,) = (task["inputs"]["parameters"]["trainjob"] for name, task in tasks if name == "train")
    spec = restore_integers(argument["runtimeValue"]["constant"])
    mnist = discovery.get("mnist")
    manifest = manifest_of(mnist, "train-mnist-0", "trainjobs/train-mnist-0", spec, Step("r", "p", "u"))
    document = {"apiVersion": TRAIN_JOB.api_version, "kind": TRAIN_JOB.kind, **manifest}
    arguments = (
        "-n",
        cluster.namespace,
        "apply",
        "--dry-run=server",
        "--validate=strict",
        "-o",
        "json",
        "-f",
        "-",
    )
    accepted = json.loads(kubectl(*arguments, stdin=json.dumps(document)))
    assert accepted["spec"]["trainer"]["numNodes"] == 2
    assert accepted["spec"]["trainer"]["command"][:3] == ["python", "-m", "torch.distributed.run"]


def test_store_that_nodes_cannot_reach_is_a_user_error(train_step: TrainStep, tmp_path: Path) -> None:
    train_step.store = open_store(str(tmp_path / "store"))
    with pytest.raises(
        UserError, match="needs an object store that all of them reach: set CT_STORE to s3://"
    ):
        train_step()
