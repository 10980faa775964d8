"""The model server, the archive that it serves, and the adapter that lets TorchServe serve it too."""
