"""The parts of the schedule verb: cron, the file, making the server match it, and runs for the past."""
