"""Loaded models: repository, versions, batching, schemas."""
