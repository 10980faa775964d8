"""Tests of the manifests: rendering, validation, and installation on a cluster."""
