"""Run the compiled pipeline on this machine."""
