"""The other servers, each around the archive's own handler; every file runs in an environment of its own."""
