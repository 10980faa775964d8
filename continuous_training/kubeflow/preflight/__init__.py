"""Preflight: checks, before anything is submitted, whether a cluster has everything that a run needs."""
