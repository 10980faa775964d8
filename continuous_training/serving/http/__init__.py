"""HTTP: requests, responses, routing, body formats and the fast path."""
