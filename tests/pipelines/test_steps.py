"""Step settings: the defaults, a file that changes them, and rejected values."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from continuous_training.core.errors import UserError
from pipelines import compile as compile_command
from pipelines import run, upload
from pipelines.compile import compile_workload
from pipelines.local_run.kfp_process import resolve
from pipelines.steps.__main__ import main
from pipelines.steps.defaults import STEPS, environment_of
from pipelines.steps.settings import PipelineSettings, StepSettings, parse_cpu, parse_memory
from pipelines.steps.settings_file import DEFAULTS, read_steps
from tests.kfp_server import kfp_server
from tests.pipelines import golden
from tests.pipelines.test_compile import spec
from workloads import discovery

DIGITS, MNIST = discovery.get("digits"), discovery.get("mnist")


def write_steps(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "steps.yaml"
    path.write_text(text)
    return path


def executors(text: str) -> dict:
    return spec(text)[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


class TestMerging:
    def test_specific_sections_override_general_sections(self, tmp_path):
        steps = read_steps(
            write_steps(
                tmp_path,
                "all: {retries: 5, node_selector: {pool: batch, zone: a}}\n"
                "train: {retries: 4, node_selector: {zone: b}}\n"
                "workloads:\n"
                "  mnist:\n"
                "    all: {retries: 3, labels: {team: vision}}\n"
                "    train: {retries: 0, memory: 16Gi}\n",
            )
        )
        digits, mnist = steps.of(DIGITS, "train"), steps.of(MNIST, "train")
        assert (digits.retries, mnist.retries) == (4, 0)
        assert mnist.node_selector == {"pool": "batch", "zone": "b"}
        assert (mnist.memory, digits.memory) == ("16Gi", STEPS["train"].memory)
        assert steps.of(MNIST, "evaluate").retries == 3
        assert steps.of(DIGITS, "evaluate").labels == {}

    def test_an_empty_file_has_the_defaults(self, tmp_path):
        steps = read_steps(write_steps(tmp_path, "# empty\n"))
        assert compile_workload("digits", golden.IMAGES, steps) == compile_workload("digits", golden.IMAGES)

    def test_training_with_torch_has_shared_memory(self):
        assert DEFAULTS.of(MNIST, "train").shared_memory == "1Gi"
        assert {DEFAULTS.of(MNIST, step).shared_memory for step in STEPS if step != "train"} == {""}
        assert DEFAULTS.of(DIGITS, "train").shared_memory == ""

    def test_the_section_of_the_pipeline(self, tmp_path):
        steps = read_steps(
            write_steps(
                tmp_path,
                "pipeline: {keep_failure: 10}\nworkloads: {mnist: {pipeline: {keep_success: 0}}}\n",
            )
        )
        assert steps.pipeline(DIGITS) == PipelineSettings(keep_failure=10)
        assert steps.pipeline(MNIST) == PipelineSettings(keep_failure=10, keep_success=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "must be a mapping of keys to values, not []"),
        ("a: {", "cannot be read as YAML"),
        ("trian: {}", "unknown key 'trian'; the keys are all, prep-data, train,"),
        ("train: 3", "train: must be a mapping of keys to values, not 3"),
        (
            "train: {memroy: 1Gi}",
            "train: unknown key 'memroy'; the keys are timeout, retries, backoff, cpu,",
        ),
        ("pipeline: {ttl: 3}", "pipeline: unknown key 'ttl'; the keys are keep_success, keep_failure"),
        ("pipeline: {keep_success: -1}", "pipeline.keep_success: must be greater than or equal to 0, not -1"),
        ("workloads: {nothere: {}}", "workloads.nothere: unknown workload; the workloads are diabetes,"),
        ("workloads: {mnist: {workloads: {}}}", "workloads.mnist: unknown key 'workloads'"),
        ("workloads: {mnist: {train: {cpus: 1}}}", "workloads.mnist.train: unknown key 'cpus'"),
        ("train: {timeout: 1h}", "train.timeout: must be a valid integer, not '1h'"),
        ("train: {timeout: true}", "train.timeout: must be a valid integer, not True"),
        (
            "train: {node_selector: {gpu: yes}}",
            "train.node_selector.gpu: True is not a string: put it in quotes",
        ),
        ("train: {tolerations: {key: a}}", "train.tolerations: must be a list, not {'key': 'a'}"),
        ("train: {tolerations: [{kee: a}]}", "train.tolerations[0]: unknown key 'kee'; the"),
        ("train: {tolerations: [{key: a, effect: No}]}", "train.tolerations[0].effect: must be"),
        ("evaluate: {nodes: 2}", "evaluate: unknown key 'nodes'"),
        ("all: {training_runtime: x}", "all: unknown key 'training_runtime'"),
    ],
)
def test_a_file_with_a_mistake_is_rejected(tmp_path, text, message):
    with pytest.raises(UserError) as error:
        read_steps(write_steps(tmp_path, text))
    assert message in str(error.value)
    assert str(tmp_path / "steps.yaml") in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {timeout: 0}", "train.timeout: must be greater than or equal to 1, not 0"),
        ("train: {retries: -1}", "train.retries: must be greater than or equal to 0, not -1"),
        ("train: {cpu: two}", "cpu: 'two' is not processors (2, 0.5 or 500m)"),
        ("train: {cpu: ''}", "cpu: '' is not processors"),
        ("train: {memory: 4GB}", "memory: '4GB' is not bytes (512Mi or 4Gi)"),
        ("train: {cpu: 2, cpu_limit: 1500m}", "cpu_limit: 1500m is less than cpu, which is 2"),
        ("train: {memory_limit: 1Gi}", "memory_limit: 1Gi is less than memory, which is 4Gi"),
        ("train: {user: 0}", "user: 0 is root"),
        ("train: {labels: {a b: c}}", "train.labels.a b: 'a b' is not a valid name in Kubernetes"),
        ("train: {labels: {a: b c}}", "train.labels.a: 'b c' is not a valid value in Kubernetes"),
        ("train: {from_secret: {TOKEN: hub}}", "train.from_secret.TOKEN: 'hub' is not NAME/KEY"),
        ("train: {environment: {A-B: x}}", "train.environment.A-B: 'A-B' is not a valid name"),
        ("train: {pull_secrets: ['']}", "train.pull_secrets[0]: '' is not the name of a Secret"),
        ("train: {nodes: 2}", "digits trains on one node, not on 2"),
    ],
)
def test_an_invalid_value_is_rejected_before_a_file_is_written(tmp_path, capsys, text, message):
    path, output = write_steps(tmp_path, text), tmp_path / "out"
    arguments = ["--workload", "digits", "--steps", str(path), "--output", str(output)]
    assert compile_command.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_several_mistakes_are_reported_at_once(tmp_path):
    text = "train: {timeout: 0, cpu: two, trian: 1}\nnotify: {user: 0}\nworkloads: {nothere: {}}\n"
    with pytest.raises(UserError) as error:
        read_steps(write_steps(tmp_path, text))
    locations = [line.split(": ")[1] for line in str(error.value).splitlines()]
    assert locations == ["train.timeout", "train.cpu", "train", "notify.user", "workloads.nothere"]


class TestQuantities:
    def test_parse_cpu(self):
        assert [parse_cpu(text) for text in ("2", "0.5", "250m")] == [2, 0.5, 0.25]

    def test_parse_memory(self):
        assert [parse_memory(text) for text in ("7", "1K", "1Ki", "4Gi")] == [7, 1000, 1024, 4 * 1024**3]

    def test_the_default_memory_limit_is_twice_the_request(self):
        assert StepSettings(timeout=1, memory="3Gi").effective_memory_limit == "6Gi"
        assert StepSettings(timeout=1, memory="3Gi", memory_limit="5Gi").effective_memory_limit == "5Gi"
        assert StepSettings(timeout=1, memory_limit="none").effective_memory_limit == ""

    def test_max_duration_includes_retries_and_waits(self):
        assert StepSettings(timeout=100, retries=0).max_duration == 700
        assert StepSettings(timeout=100, retries=2, backoff=30).max_duration == 3 * 700 + 30 + 60


class TestCompiled:
    def test_the_retry_duration_leaves_time_for_all_attempts(self):
        """Argo measures the duration from the start of the first attempt."""
        text = compile_workload("mnist", golden.IMAGES).text
        pipeline, platform = spec(text)
        groups = [pipeline["root"], *(c for c in pipeline["components"].values() if "dag" in c)]
        tasks_with_retries = 0
        for group in groups:
            for name, task in group["dag"]["tasks"].items():
                policy = task.get("retryPolicy")
                if policy:
                    tasks_with_retries += 1
                    executor = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][
                        f"exec-{name}"
                    ]
                    attempts = policy["maxRetryCount"] + 1
                    assert int(policy["backoffMaxDuration"][:-1]) > attempts * int(
                        executor["activeDeadlineSeconds"]
                    )
        assert tasks_with_retries == len(STEPS)

    def test_a_step_gets_only_the_secrets_that_it_needs(self):
        variables = {
            name.removeprefix("exec-"): {
                pair["envVar"] for source in executor["secretAsEnv"] for pair in source["keyToEnv"]
            }
            for name, executor in executors(compile_workload("iris", golden.IMAGES).text).items()
        }
        assert {step for step, names in variables.items() if "PGPASSWORD" in names} == {"prep-data"}
        assert {step for step, names in variables.items() if "CT_WEBHOOK" in names} == {
            "prep-data", "evaluate", "deploy-serving", "notify",
        }  # fmt: skip
        assert {step for step, names in variables.items() if "MLFLOW_TRACKING_PASSWORD" in names} == {
            "evaluate", "archive", "deploy-serving", "notify",
        }  # fmt: skip
        assert all("AWS_SECRET_ACCESS_KEY" in names for names in variables.values())

    def test_only_the_steps_that_change_the_endpoint_get_the_deployment_target(self):
        steps = {step for step in STEPS if "CT_TARGET" in environment_of(step).config_map}
        assert steps == {"deploy-serving", "notify"}

    def test_a_variable_from_another_secret_replaces_the_default(self, tmp_path):
        path = write_steps(tmp_path, "prep-data: {from_secret: {PGPASSWORD: warehouse/key}}")
        executor = executors(compile_workload("digits", golden.IMAGES, read_steps(path)).text)[
            "exec-prep-data"
        ]
        pairs = [pair for source in executor["secretAsEnv"] for pair in source["keyToEnv"]]
        assert [pair["secretKey"] for pair in pairs if pair["envVar"] == "PGPASSWORD"] == ["key"]

    def test_memory_limit_and_user_can_be_left_to_the_cluster(self, tmp_path):
        path = write_steps(tmp_path, "all: {user: null, memory_limit: none}")
        text = compile_workload("digits", golden.IMAGES, read_steps(path)).text
        assert "resourceMemoryLimit" not in text
        assert all(
            executor["securityContext"] == {"runAsNonRoot": True} for executor in executors(text).values()
        )

    def test_settings_change_the_version(self, tmp_path):
        path = write_steps(tmp_path, "train: {memory: 6Gi}")
        changed = compile_workload("digits", golden.IMAGES, read_steps(path))
        assert changed.version != compile_workload("digits", golden.IMAGES).version


class TestCommands:
    def test_the_printed_defaults_are_a_file_that_changes_nothing(self, tmp_path, capsys):
        assert main(["--workload", "mnist"]) == 0
        path = write_steps(tmp_path, capsys.readouterr().out)
        steps = read_steps(path)
        assert compile_workload("mnist", golden.IMAGES, steps) == compile_workload("mnist", golden.IMAGES)

    def test_the_schema_accepts_the_defaults(self, capsys):
        assert main(["--schema"]) == 0
        schema = json.loads(capsys.readouterr().out)
        assert main([]) == 0
        jsonschema.validate(yaml.safe_load(capsys.readouterr().out), schema)
        jsonschema.validate({"workloads": {"mnist": {"train": {"cpu": 2, "nodes": 2}}}}, schema)
        for invalid in ({"train": {"memory": "4GB"}}, {"evaluate": {"nodes": 2}}, {"trian": {}}):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(invalid, schema)
        assert schema["$defs"]["StepSection"]["properties"]["memory"]["description"]

    def test_the_resulting_settings_of_a_file_are_printed(self, tmp_path, capsys):
        path = write_steps(tmp_path, "workloads: {iris: {train: {memory: 6Gi}}}")
        assert main(["--workload", "iris", "--steps", str(path)]) == 0
        assert yaml.safe_load(capsys.readouterr().out)["train"]["memory"] == "6Gi"
        assert main(["--workload", "iris", "--steps", str(tmp_path / "none.yaml")]) == 2
        assert "python -m pipelines.steps prints the defaults" in capsys.readouterr().err

    def test_the_module_is_a_command(self):
        process = subprocess.run([sys.executable, "-m", "pipelines.steps"], capture_output=True, text=True)
        assert (process.returncode, process.stderr) == (0, "")
        assert list(yaml.safe_load(process.stdout)) == [*STEPS, "pipeline"]

    def test_upload_and_run_apply_the_file(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("CT_STORE", raising=False)
        monkeypatch.setattr("time.sleep", lambda _: None)
        path = write_steps(tmp_path, "train: {memory: 6Gi}")
        with kfp_server() as server:
            arguments = ["--workload", "diabetes", "--host", server.url]
            arguments += ["--registry", "registry.example/ct"]
            assert upload.main(arguments) == 0
            assert upload.main([*arguments, "--steps", str(path)]) == 0
            assert run.main(["--target", "cluster", *arguments, "--steps", str(path), "--dry-run"]) == 0
            assert len(server.versions) == 2
        assert '"uploaded": true' in capsys.readouterr().out


def test_a_local_run_does_not_retry_a_failed_step():
    text = compile_workload("digits", golden.IMAGES).text
    assert "maxRetryCount: 2" in text
    resolved = resolve(text, "run")
    assert set(re.findall(r"maxRetryCount: \d+", resolved)) == {"maxRetryCount: 0"}
    assert set(re.findall(r"name: CT_RETRIES\n +value: '(\d+)'", text)) == {"1", "2"}
    assert set(re.findall(r"name: CT_RETRIES\n +value: '(\d+)'", resolved)) == {"0"}
