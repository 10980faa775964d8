"""A client of the Kubernetes API: connection, retries, watches, and errors with an action for the user."""
