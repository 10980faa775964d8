"""Tests of continuous_training.kubeflow."""
