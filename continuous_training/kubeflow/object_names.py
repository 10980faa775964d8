"""Names that pipelines, manifests and preflight share."""

DISTRIBUTION = "continuous-training"
"""The Python distribution, and the default registry path of the images."""

STEP_NAMES = ("prep-data", "train", "evaluate", "archive", "deploy-serving", "notify")
"""The steps, in the order of the pipeline."""

RUN_ID_LABEL = "pipeline/runid"
"""The label that Kubeflow Pipelines sets on a Workflow and on its pods, with the id of the run."""

STEP_LABEL = "continuous-training/step"
"""The label of a step's pod with the name of the step."""

STEPS_CONFIG_MAP = STEPS_SECRET = STEPS_ACCOUNT = "continuous-training"  # noqa: S105 - the name of a Secret
"""The ConfigMap, the Secret and the service account of the steps."""

KUBEFLOW_NAMESPACE = "kubeflow"
"""The namespace of the pods of a Kubeflow Pipelines without profiles."""

SERVER_ACCOUNT = SERVER_SECRET = "model-server"  # noqa: S105 - the name of a Secret
"""The service account and the Secret of the model servers."""

TRAINING_RUNTIME = "continuous-training"
"""The TrainingRuntime of the component manifests/components/trainer."""

SERVICE_OWNERS = {
    "kubernetes": "Kubernetes",
    "minio": "Kubeflow Pipelines",
    "mysql": "Kubeflow Pipelines",
    "postgres": "Kubeflow Pipelines",
    "registry": "manifests/components/registry",
    "seaweedfs": "Kubeflow Pipelines",
    "store": "manifests/components/store",
}
"""The Services that may be in the namespace of the model servers, and their owners. A workload whose endpoint
has one of these names would replace the Service."""
