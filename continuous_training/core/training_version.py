"""The version of the library's part in a training."""

TRAINING_VERSION = 1
"""Part of the input digest, so a new version trains every workload once more.

Increment it when a change of `continuous_training` or `components` leads to other models or decisions from
the same rows, parameters, workload and packages: another split, other training rows, other metrics, another
gate. Do not increment it for a change that cannot affect a model, such as messages, commands or the server.
"""
