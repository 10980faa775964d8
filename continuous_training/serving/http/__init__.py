"""HTTP: requests, responses, routing and the fast path."""
