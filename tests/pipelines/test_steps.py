"""Settings of steps: the defaults, a file that changes them, and what is refused."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from continuous_training.core.errors import UserError
from pipelines import compile as compile_verb
from pipelines import run, upload
from pipelines.compile import compile_workload
from pipelines.local_run.kfp_local import resolve
from pipelines.steps import DEFAULTS, STEPS, environment_of, read_steps
from pipelines.steps.__main__ import main
from pipelines.steps.settings import PipelineSettings, StepSettings, processors, size
from tests.kfp_server import kfp_server
from tests.pipelines import golden
from tests.pipelines.test_compile import spec
from workloads import discovery

DIGITS, MNIST = discovery.get("digits"), discovery.get("mnist")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "steps.yaml"
    path.write_text(text)
    return path


def executors(text: str) -> dict:
    return spec(text)[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


class TestMerging:
    def test_what_is_nearer_goes_before_what_is_general(self, tmp_path):
        steps = read_steps(
            written(
                tmp_path,
                "all: {retries: 5, node_selector: {pool: batch, zone: a}}\n"
                "train: {retries: 4, node_selector: {zone: b}}\n"
                "workloads:\n"
                "  mnist:\n"
                "    all: {retries: 3, labels: {team: vision}}\n"
                "    train: {retries: 0, memory: 16Gi}\n",
            )
        )
        of_digits, of_mnist = steps.of(DIGITS, "train"), steps.of(MNIST, "train")
        assert (of_digits.retries, of_mnist.retries) == (4, 0)
        assert of_mnist.node_selector == {"pool": "batch", "zone": "b"}
        assert (of_mnist.memory, of_digits.memory) == ("16Gi", STEPS["train"].memory)
        assert steps.of(MNIST, "evaluate").retries == 3
        assert steps.of(DIGITS, "evaluate").labels == {}

    def test_an_empty_file_is_the_defaults(self, tmp_path):
        steps = read_steps(written(tmp_path, "# nothing\n"))
        assert compile_workload("digits", golden.IMAGES, steps) == compile_workload("digits", golden.IMAGES)

    def test_torch_has_shared_memory(self):
        assert DEFAULTS.of(MNIST, "train").shared_memory == "1Gi"
        assert {DEFAULTS.of(MNIST, step).shared_memory for step in STEPS if step != "train"} == {""}
        assert DEFAULTS.of(DIGITS, "train").shared_memory == ""

    def test_the_pipelines_own_section(self, tmp_path):
        steps = read_steps(
            written(
                tmp_path,
                "pipeline: {keep_failure: 10}\nworkloads: {mnist: {pipeline: {keep_success: 0}}}\n",
            )
        )
        assert steps.pipeline(DIGITS) == PipelineSettings(keep_failure=10)
        assert steps.pipeline(MNIST) == PipelineSettings(keep_failure=10, keep_success=0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "[] is no mapping of keys to values"),
        ("a: {", "cannot be read as YAML"),
        ("trian: {}", "there is no section 'trian'; the sections are all, prep-data, train,"),
        ("train: 3", "train: 3 is no mapping"),
        (
            "train: {memroy: 1Gi}",
            "train: there is no key 'memroy'; the keys are timeout, retries, backoff, cpu,",
        ),
        ("pipeline: {ttl: 3}", "pipeline: there is no key 'ttl'; the keys are keep_success, keep_failure"),
        ("pipeline: {keep_success: -1}", "pipeline: keep_success: -1 is less than 0"),
        ("workloads: {nothere: {}}", "workloads: there is no workload 'nothere'; registered are: diabetes,"),
        ("workloads: {mnist: {workloads: {}}}", "workloads, mnist: there is no section 'workloads'"),
        ("workloads: {mnist: {train: {cpus: 1}}}", "workloads, mnist, train: there is no key 'cpus'"),
        ("train: {timeout: 1h}", "train, timeout: '1h' is no whole number"),
        ("train: {timeout: true}", "train, timeout: True is no whole number"),
        (
            "train: {node_selector: {gpu: yes}}",
            "train, node_selector: True is no text: put it between quotes",
        ),
        ("train: {tolerations: {key: a}}", "train, tolerations: {'key': 'a'} is no list"),
        ("train: {tolerations: [{kee: a}]}", "train, tolerations: a toleration: there is no key 'kee'; the"),
        ("train: {tolerations: [{key: a, effect: No}]}", "effect"),
        ("evaluate: {nodes: 2}", "evaluate: nodes is a setting of train alone"),
        ("all: {training_runtime: x}", "all: training_runtime is a setting of train alone"),
    ],
)
def test_a_file_with_something_wrong_is_refused_whole(tmp_path, text, said):
    with pytest.raises(UserError) as refused:
        read_steps(written(tmp_path, text))
    assert said in str(refused.value)
    assert str(tmp_path / "steps.yaml") in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {timeout: 0}", "train: timeout: 0 is less than 1"),
        ("train: {retries: -1}", "retries: -1 is less than 0"),
        ("train: {cpu: two}", "cpu: 'two' is not processors (2, 0.5 or 500m)"),
        ("train: {cpu: ''}", "cpu: '' is not processors"),
        ("train: {memory: 4GB}", "memory: '4GB' is not bytes (512Mi or 4Gi)"),
        ("train: {cpu: 2, cpu_limit: 1500m}", "cpu_limit: 1500m is less than cpu, which is 2"),
        ("train: {memory_limit: 1Gi}", "memory_limit: 1Gi is less than memory, which is 4Gi"),
        ("train: {user: 0}", "user: 0 is root"),
        ("train: {labels: {a b: c}}", "labels: 'a b' is not a name that Kubernetes takes here"),
        ("train: {labels: {a: b c}}", "labels, a: 'b c' is not a value that Kubernetes takes here"),
        ("train: {from_secret: {TOKEN: hub}}", "from_secret, TOKEN: 'hub' is not NAME/KEY"),
        ("train: {environment: {A-B: x}}", "environment: 'A-B' is not a name"),
        ("train: {pull_secrets: ['']}", "pull_secrets: '' is not the name of a Secret"),
        ("train: {nodes: 2}", "digits trains on one node, not on 2"),
    ],
)
def test_a_value_that_cannot_be_is_refused_before_anything_is_written(tmp_path, capsys, text, said):
    path, out = written(tmp_path, text), tmp_path / "out"
    asked = ["--workload", "digits", "--steps", str(path), "--output", str(out)]
    assert compile_verb.main(asked) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


class TestQuantities:
    def test_processors(self):
        assert [processors(text) for text in ("2", "0.5", "250m")] == [2, 0.5, 0.25]

    def test_size(self):
        assert [size(text) for text in ("7", "1K", "1Ki", "4Gi")] == [7, 1000, 1024, 4 * 1024**3]

    def test_memory_is_limited_to_twice_the_request_unless_told(self):
        assert StepSettings(timeout=1, memory="3Gi").most_memory == "6Gi"
        assert StepSettings(timeout=1, memory="3Gi", memory_limit="5Gi").most_memory == "5Gi"
        assert StepSettings(timeout=1, memory_limit="none").most_memory == ""

    def test_the_longest_that_a_step_takes(self):
        assert StepSettings(timeout=100, retries=0).longest == 700
        assert StepSettings(timeout=100, retries=2, backoff=30).longest == 3 * 700 + 30 + 60


class TestCompiled:
    def test_a_retry_is_not_cut_off_by_the_first_tries_time(self):
        """Argo counts the limit from the first try's start: it must leave room for all of them."""
        text = compile_workload("mnist", golden.IMAGES).text
        pipeline, platform = spec(text)
        groups = [pipeline["root"], *(c for c in pipeline["components"].values() if "dag" in c)]
        seen = 0
        for group in groups:
            for name, task in group["dag"]["tasks"].items():
                policy = task.get("retryPolicy")
                if policy:
                    seen += 1
                    limit = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][f"exec-{name}"]
                    tries = policy["maxRetryCount"] + 1
                    assert int(policy["backoffMaxDuration"][:-1]) > tries * int(
                        limit["activeDeadlineSeconds"]
                    )
        assert seen == len(STEPS)

    def test_a_step_gets_no_secret_that_another_one_needs(self):
        found = {
            name.removeprefix("exec-"): {
                pair["envVar"] for given in executor["secretAsEnv"] for pair in given["keyToEnv"]
            }
            for name, executor in executors(compile_workload("iris", golden.IMAGES).text).items()
        }
        assert {step for step, names in found.items() if "PGPASSWORD" in names} == {"prep-data"}
        assert {step for step, names in found.items() if "CT_WEBHOOK" in names} == {"notify"}
        assert {step for step, names in found.items() if "MLFLOW_TRACKING_PASSWORD" in names} == {
            "evaluate", "archive", "deploy-serving",
        }  # fmt: skip
        assert all("AWS_SECRET_ACCESS_KEY" in names for names in found.values())

    def test_only_deploy_serving_is_told_where_models_are_served(self):
        told = {step for step in STEPS if "CT_TARGET" in environment_of(step).config_map}
        assert told == {"deploy-serving"}

    def test_a_variable_from_elsewhere_is_there_once(self, tmp_path):
        path = written(tmp_path, "prep-data: {from_secret: {PGPASSWORD: warehouse/key}}")
        given = executors(compile_workload("digits", golden.IMAGES, read_steps(path)).text)["exec-prep-data"]
        named = [pair for part in given["secretAsEnv"] for pair in part["keyToEnv"]]
        assert [pair["secretKey"] for pair in named if pair["envVar"] == "PGPASSWORD"] == ["key"]

    def test_no_limit_and_no_user_where_a_cluster_gives_its_own(self, tmp_path):
        path = written(tmp_path, "all: {user: null, memory_limit: none}")
        text = compile_workload("digits", golden.IMAGES, read_steps(path)).text
        assert "resourceMemoryLimit" not in text
        assert all(e["securityContext"] == {"runAsNonRoot": True} for e in executors(text).values())

    def test_settings_are_part_of_a_version(self, tmp_path):
        path = written(tmp_path, "train: {memory: 6Gi}")
        changed = compile_workload("digits", golden.IMAGES, read_steps(path))
        assert changed.version != compile_workload("digits", golden.IMAGES).version


class TestCommands:
    def test_what_is_printed_is_a_file_that_changes_nothing(self, tmp_path, capsys):
        assert main(["--workload", "mnist"]) == 0
        path = written(tmp_path, capsys.readouterr().out)
        steps = read_steps(path)
        assert compile_workload("mnist", golden.IMAGES, steps) == compile_workload("mnist", golden.IMAGES)

    def test_what_a_file_makes_of_them_is_printed(self, tmp_path, capsys):
        path = written(tmp_path, "workloads: {iris: {train: {memory: 6Gi}}}")
        assert main(["--workload", "iris", "--steps", str(path)]) == 0
        assert yaml.safe_load(capsys.readouterr().out)["train"]["memory"] == "6Gi"
        assert main(["--workload", "iris", "--steps", str(tmp_path / "none.yaml")]) == 2
        assert "python -m pipelines.steps prints the defaults" in capsys.readouterr().err

    def test_is_a_command(self):
        done = subprocess.run([sys.executable, "-m", "pipelines.steps"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert list(yaml.safe_load(done.stdout)) == [*STEPS, "pipeline"]

    def test_upload_and_run_bring_the_version_that_the_file_makes(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("CT_STORE", raising=False)
        monkeypatch.setattr("time.sleep", lambda _: None)
        path = written(tmp_path, "train: {memory: 6Gi}")
        with kfp_server() as server:
            to = ["--workload", "diabetes", "--host", server.url]
            assert upload.main(to) == 0
            assert upload.main([*to, "--steps", str(path)]) == 0
            assert run.main(["--target", "cluster", *to, "--steps", str(path), "--dry-run"]) == 0
            assert len(server.versions) == 2
        assert '"uploaded": true' in capsys.readouterr().out


def test_a_local_run_does_not_try_a_failed_step_again():
    text = compile_workload("digits", golden.IMAGES).text
    assert "maxRetryCount: 2" in text
    found = set(re.findall(r"maxRetryCount: \d+", resolve(text, "run")))
    assert found == {"maxRetryCount: 0"}
