"""Kubeflow Pipelines: what a running step asks it (tasks), and what the verbs tell it (access, api)."""
