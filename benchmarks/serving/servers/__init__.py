"""The other servers. Each file runs in a separate environment and uses the archive's own handler."""
