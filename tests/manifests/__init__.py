"""The manifests: rendered, checked, accepted by an API server, and brought up."""
