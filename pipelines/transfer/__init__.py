"""Transfer a model version from one environment to another: python -m pipelines.transfer."""
