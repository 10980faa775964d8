"""Kubeflow Pipelines: API client, pipeline upload, runs, schedules and preflight."""
