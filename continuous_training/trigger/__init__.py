"""The trigger service: starts runs for callers over HTTP, with a queue in the object store."""
