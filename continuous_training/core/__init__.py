"""Errors, files, locks, digests, settings and progress: the modules that everything else may import."""
