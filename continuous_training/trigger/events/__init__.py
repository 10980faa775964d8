"""Events of other systems that start runs: CloudEvents, buckets, GitHub, MLflow and Slack."""
