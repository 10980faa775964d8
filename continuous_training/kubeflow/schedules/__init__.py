"""Schedules of a Kubeflow Pipelines server: cron, schedule file, reconciliation, backfill."""
