"""Requests that clients should not send, or that servers often answer incorrectly, and their responses."""
