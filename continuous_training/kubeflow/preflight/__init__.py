"""What a cluster must have before a run: what the pipeline names, and a look for each of it."""
