"""The library: everything that is not a command, a pipeline step or a workload."""
