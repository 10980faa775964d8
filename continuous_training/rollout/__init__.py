"""Move an endpoint to another model version, and revert if the new version fails."""
