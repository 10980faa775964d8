"""The commands of the model server."""
