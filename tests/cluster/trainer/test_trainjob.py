"""train on several nodes, on a real API server: what it starts, how it ends, and what is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.prep_data import step as prep_data
from components.train import step as train
from components.train.nodes.launcher import MARGIN, Step, manifest_of, name_of, run_on_nodes, whole_numbers
from components.train.nodes.object_store_exchange import Exchange
from continuous_training.adapters.kubernetes import trainjob
from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.connection import connect
from continuous_training.adapters.kubernetes.resources import JOB, POD, SERVICE_ACCOUNT, Resource
from continuous_training.adapters.kubernetes.trainjob import TRAIN_JOB
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.core.errors import PipelineError, TransientError, UserError
from continuous_training.core.files import digest_of_folder
from pipelines.steps import StepSettings
from pipelines.steps.trainjob import trainjob_spec
from tests import s3
from tests.pipelines import golden
from tests.s3 import Bucket
from workloads import discovery

from ..waiting import eventually
from .conftest import kubectl
from .controller import Controller, at_work

ROOT = Path(__file__).parents[3]
WORKLOAD = discovery.get("diabetes")
LINES = 'i=0; while [ $i -lt 3 ]; do echo "· node $JOB_COMPLETION_INDEX says $i"; i=$((i+1)); done'
GO = "/tmp/go"
WAIT = "trap 'exit 1' TERM; sleep 600 & wait"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset, and the bundle that nodes would make of it."""
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


class Run:
    """One run's train step, here."""

    def __init__(
        self, cluster: Cluster, store: ObjectStore, prepared: tuple[Path, Path], output: Path
    ) -> None:
        self.cluster, self.store, self.data, self.bundle = cluster, store, *prepared
        self.output, self.said = output, list[str]()
        self.step = Step(run="a-run")
        recipe = json.loads((self.data / "dataset.json").read_text())["recipe"]
        self.name = name_of(WORKLOAD, recipe, self.step)
        self.exchange = Exchange(store, f"trainjobs/{self.name}")

    def __call__(self, spec: Object | None = None) -> dict[str, Any]:
        return run_on_nodes(
            *(WORKLOAD, {}, self.data, self.output, spec or spec_of()),
            *(self.cluster, self.store, self.step, self.said.append),
        )

    def leave_model(self) -> None:
        self.exchange.put_bundle(self.bundle)

    def left(self) -> list[str]:
        """Name what is left in the cluster and in the store, pods that are ending aside."""
        return [
            *(one["metadata"]["name"] for one in self.cluster.find(TRAIN_JOB)),
            *self.store.keys("trainjobs"),
        ]

    def pods(self) -> list[Object]:
        return self.cluster.find(POD, f"jobset.sigs.k8s.io/jobset-name={self.name}")


@pytest.fixture
def run(cluster: Cluster, store: ObjectStore, prepared: tuple[Path, Path], tmp_path: Path) -> Run:
    return Run(cluster, store, prepared, tmp_path / "model")


def test_a_success_brings_the_model_home_and_leaves_nothing(
    run: Run, controller: Controller, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.script, controller.before_complete = LINES, run.leave_model
    with at_work(controller):
        metadata = run()
    assert digest_of_folder(run.output) == digest_of_folder(run.bundle)
    assert metadata.to_json() == json.loads((run.bundle / "model.json").read_text())
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if "says" in line] == [f"· node 0 says {number}" for number in range(3)]
    assert f"TrainJob {run.name} is created" in run.said
    assert run.left() == []
    assert run.cluster.get(JOB, f"{run.name}-node-0") is None
    assert eventually(lambda: not run.pods())


def test_a_failure_tells_how_the_pods_ended_and_their_last_words(run: Run, controller: Controller) -> None:
    controller.script = "echo · epoch 1; echo torch.OutOfMemoryError: no more >&2; exit 7"
    with at_work(controller), pytest.raises(PipelineError) as failed:
        run()
    said = str(failed.value)
    assert (
        f"TrainJob {run.name} has failed (FailedJobs: jobset failed due to one or more job failures" in said
    )
    assert "ended with exit code 7 (Error)" in said
    assert "torch.OutOfMemoryError: no more" in said
    assert not isinstance(failed.value, UserError | TransientError)
    assert run.left() == []
    assert not run.output.exists()


def test_an_error_of_the_user_ends_it_at_once(run: Run, controller: Controller) -> None:
    told = json.dumps({"exit_code": 2, "error": "the rows have no target; prepare them again"})
    controller.script = f"echo 'step failed: {told}'; {WAIT}"
    with at_work(controller), pytest.raises(UserError, match="the rows have no target; prepare them again"):
        run()
    assert run.left() == []


def test_a_complete_trainjob_is_not_believed_while_its_job_goes_on(
    run: Run, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainjob, "SETTLING", 2.0)
    controller.script, controller.lies = WAIT, True
    with at_work(controller), pytest.raises(PipelineError, match="says that it is complete, and 0 of 2 pods"):
        run()
    assert run.left() == []


def test_a_complete_trainjob_without_a_model_is_no_success(run: Run, controller: Controller) -> None:
    controller.script = "true"
    with at_work(controller), pytest.raises(PipelineError, match="ended without leaving a model"):
        run()
    assert run.left() == []
    assert not run.output.exists()


def test_the_time_is_up(run: Run, controller: Controller) -> None:
    controller.script = f"echo · epoch 1; {WAIT}"
    with at_work(controller), pytest.raises(TransientError) as late:
        run(spec_of(activeDeadlineSeconds=MARGIN + 10))
    assert "raise the timeout of train" in str(late.value)
    assert "· epoch 1" in str(late.value)
    assert run.left() == []


def test_what_it_waits_for_is_told(run: Run, controller: Controller) -> None:
    spec = spec_of(activeDeadlineSeconds=MARGIN + 8)
    spec["trainer"]["resourcesPerNode"] = {"requests": {"cpu": "4000"}}
    with at_work(controller), pytest.raises(TransientError, match="has not ended after 8 s"):
        run(spec)
    assert any("waits: Unschedulable: " in line and "Insufficient cpu" in line for line in run.said), run.said


def test_nobody_takes_it_up(run: Run, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainjob, "UNNOTICED", 1.0)
    with pytest.raises(TransientError, match="has not ended after 6 s"):
        run(spec_of(activeDeadlineSeconds=MARGIN + 6))
    assert "no pods yet: is the controller of Kubeflow Trainer running, and JobSet's?" in run.said


def test_a_trainjob_that_somebody_deletes(run: Run, controller: Controller) -> None:
    controller.absent = True
    hear = trainjob.wait

    def deleted(cluster: Cluster, name: str, *rest: Any) -> None:
        cluster.delete(TRAIN_JOB, name)
        hear(cluster, name, *rest)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trainjob, "wait", deleted)
        with pytest.raises(PipelineError, match="is gone: somebody has deleted it"):
            run()
    assert run.left() == []


def test_a_cluster_without_the_trainer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainjob, "TRAIN_JOB", Resource("nothere.example/v1", "TrainJob", "trainjobs"))
    with pytest.raises(UserError, match=r"has no TrainJobs: install Kubeflow Trainer 2\.2 or newer"):
        run()
    assert run.store.keys("trainjobs") == []


def test_an_older_trainer_is_refused_before_it_starts_anything(run: Run) -> None:
    """It would drop the field that it does not know, and start pods that Pod Security refuses."""
    manifest = manifest_of(WORKLOAD, run.name, run.exchange.key, spec_of(), run.step)
    ask = run.cluster.apply

    def older(resource: Resource, body: Object, dry_run: bool = False) -> Object:
        kept = {key: value for key, value in body["spec"].items() if key != "runtimePatches"}
        return ask(resource, {**body, "spec": kept}, dry_run)

    run.cluster.apply = older  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"version 2\.2 or newer is needed"):
        trainjob.start(run.cluster, manifest, print)
    assert run.cluster.find(TRAIN_JOB) == []


def kubeconfig(cluster: Cluster, folder: Path) -> Path:
    """Return a kubeconfig whose namespace is the cluster's."""
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
def as_step(run: Run, bucket: Bucket, tmp_path: Path) -> Callable[[], subprocess.Popen[str]]:
    """Start the step as the pipeline does, in a process of its own."""
    given = {
        "KUBECONFIG": str(kubeconfig(run.cluster, tmp_path)),
        "CT_STORE": bucket.uri,
        "CT_RUN": run.step.run,
        "AWS_ACCESS_KEY_ID": s3.ACCESS[0],
        "AWS_SECRET_ACCESS_KEY": s3.ACCESS[1],
        "PYTHONUNBUFFERED": "1",
    }

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", CODE, str(run.data), str(run.output), json.dumps(spec_of())],
            cwd=ROOT,
            env={**os.environ, **given},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def until(process: subprocess.Popen[str], words: str) -> list[str]:
    """Read the process's lines up to the one with these words."""
    assert process.stdout
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError("".join(lines))


def test_a_step_that_is_cancelled_takes_its_nodes_along(
    run: Run, controller: Controller, as_step: Callable[[], subprocess.Popen[str]]
) -> None:
    controller.script = f"echo · epoch 1; {WAIT}"
    with at_work(controller):
        process = as_step()
        until(process, "· epoch 1")
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "Traceback" not in said
    assert run.left() == []
    assert eventually(lambda: not run.pods())


def test_a_step_that_was_killed_is_taken_over_by_its_next_try(
    run: Run, controller: Controller, as_step: Callable[[], subprocess.Popen[str]]
) -> None:
    controller.script = f"echo · epoch 1; while [ ! -e {GO} ]; do sleep 0.1; done; {LINES}"
    controller.before_complete = run.leave_model
    with at_work(controller):
        first = as_step()
        until(first, "· epoch 1")
        first.kill()
        first.communicate()
        (found,) = run.cluster.find(TRAIN_JOB)
        second = as_step()
        until(second, f"TrainJob {run.name} goes on")
        for pod in run.pods():
            # The container may end before the command in it does.
            name = pod["metadata"]["name"]
            subprocess.run(["kubectl", "-n", run.cluster.namespace, "exec", name, "--", "touch", GO])
        said, _ = second.communicate(timeout=120)
    assert second.returncode == 0, said
    assert "· node 0 says 2" in said
    assert len(controller.made) == 1, "the work of the first try was not begun anew"
    assert found["metadata"]["name"] == run.name
    assert digest_of_folder(run.output) == digest_of_folder(run.bundle)
    assert run.left() == []


def test_a_model_that_was_left_behind_is_fetched_without_training_again(
    run: Run, controller: Controller
) -> None:
    run.leave_model()
    with at_work(controller):
        run()
    assert controller.made == []
    assert digest_of_folder(run.output) == digest_of_folder(run.bundle)
    assert run.left() == []


def test_what_failed_before_is_begun_anew(run: Run, controller: Controller) -> None:
    manifest = manifest_of(WORKLOAD, run.name, run.exchange.key, spec_of(), run.step)
    controller.script = "exit 1"
    with at_work(controller):
        run.cluster.apply(TRAIN_JOB, manifest)
        assert eventually(lambda: _failed(run))
        controller.script, controller.before_complete = "true", run.leave_model
        run()
    assert len(controller.made) == 2
    assert f"TrainJob {run.name} is created" in run.said


def test_one_that_is_being_deleted_is_waited_for(run: Run, controller: Controller) -> None:
    manifest = manifest_of(WORKLOAD, run.name, run.exchange.key, spec_of(), run.step)
    held = {**manifest, "metadata": {**manifest["metadata"], "finalizers": ["example.com/held"]}}
    old = run.cluster.apply(TRAIN_JOB, held)
    run.cluster.delete(TRAIN_JOB, run.name)
    release = threading.Timer(2, run.cluster.apply, (TRAIN_JOB, manifest))
    release.start()
    trainjob.start(run.cluster, manifest, run.said.append)
    release.join()
    (new,) = run.cluster.find(TRAIN_JOB)
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert run.said == [f"TrainJob {run.name} is created"]


def _failed(run: Run) -> bool:
    return trainjob.condition(run.cluster.get(TRAIN_JOB, run.name) or {}, "Failed") is not None


def test_the_trainjob_goes_with_the_steps_pod(run: Run, controller: Controller) -> None:
    """Where a step is killed and not tried again, its pod is deleted in the end, and takes the rest along."""
    container = {
        "name": "main",
        "image": controller.image,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    body = {"metadata": {"name": "step"}, "spec": {"containers": [container], "securityContext": security}}
    pod = run.cluster.create(POD, body)
    step = Step("a-run", "step", pod["metadata"]["uid"])
    trainjob.start(run.cluster, manifest_of(WORKLOAD, run.name, run.exchange.key, spec_of(), step), print)
    run.cluster.delete(POD, "step")
    assert eventually(lambda: run.cluster.find(TRAIN_JOB) == [])


def shipped_rules() -> list[dict[str, Any]]:
    role = next(yaml.safe_load_all((ROOT / "manifests/components/trainer/role.yaml").read_text()))
    return list(role["rules"])


def account(cluster: Cluster, rules: list[dict[str, Any]], folder: Path) -> Path:
    """Return the kubeconfig of a service account that may do what the rules say."""
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
def test_the_documented_role_is_enough(
    run: Run, controller: Controller, tmp_path: Path, outcome: str
) -> None:
    path = account(run.cluster, shipped_rules(), tmp_path)
    own = Run(connect(run.cluster.namespace, str(path)), run.store, (run.data, run.bundle), run.output)
    controller.script = f"{LINES}; {'true' if outcome == 'succeeds' else 'exit 3'}"
    controller.before_complete = run.leave_model
    with at_work(controller):
        if outcome == "succeeds":
            own()
        else:
            with pytest.raises(PipelineError, match="exit code 3"):
                own()
    assert not [line for line in own.said if line.startswith("left behind")]
    assert run.left() == []


@pytest.mark.parametrize("missing", range(4))
def test_each_rule_of_the_documented_role_is_needed(
    run: Run, controller: Controller, tmp_path: Path, missing: int
) -> None:
    rules = shipped_rules()
    assert len(rules) == 4
    lacked = rules.pop(missing)["resources"][0]
    path = account(run.cluster, rules, tmp_path)
    own = Run(connect(run.cluster.namespace, str(path)), run.store, (run.data, run.bundle), run.output)
    controller.script, controller.before_complete = LINES, run.leave_model
    with at_work(controller):
        if lacked == "pods/log":
            own()
            assert not any("says" in line for line in own.said)
        else:
            with pytest.raises(UserError, match=f"its Role lacks the verb .* on {lacked}"):
                own()


def test_what_the_compiler_writes_is_a_trainjob(cluster: Cluster, tmp_path: Path) -> None:
    """The golden file's spec, with its floats, passes the real definition's strictest reading."""
    pipeline, _ = yaml.safe_load_all((golden.FOLDER / "mnist.nodes.yaml").read_text())
    tasks = (t for c in pipeline["components"].values() if "dag" in c for t in c["dag"]["tasks"].items())
    (given,) = (task["inputs"]["parameters"]["trainjob"] for name, task in tasks if name == "train")
    spec = whole_numbers(given["runtimeValue"]["constant"])
    mnist = discovery.get("mnist")
    manifest = manifest_of(mnist, "train-mnist-0", "trainjobs/train-mnist-0", spec, Step("r", "p", "u"))
    whole = {"apiVersion": TRAIN_JOB.api_version, "kind": TRAIN_JOB.kind, **manifest}
    asked = (
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
    accepted = json.loads(kubectl(*asked, text=json.dumps(whole)))
    assert accepted["spec"]["trainer"]["numNodes"] == 2
    assert accepted["spec"]["trainer"]["command"][:3] == ["python", "-m", "torch.distributed.run"]


def test_a_store_that_nodes_cannot_reach_is_refused(run: Run, tmp_path: Path) -> None:
    run.store = open_store(str(tmp_path / "store"))
    with pytest.raises(
        UserError, match="needs an object store that all of them reach: set CT_STORE to s3://"
    ):
        run()
