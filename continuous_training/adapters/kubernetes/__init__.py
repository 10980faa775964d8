"""A Kubernetes API server: connected to, asked with patience, and its refusals told in words."""
