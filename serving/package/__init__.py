"""The command that builds an image with the model server and one archive."""
