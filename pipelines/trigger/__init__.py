"""The trigger service's commands: `python -m pipelines.trigger serve | token`."""
