"""The deployment target `kserve`: an InferenceService per workload."""
