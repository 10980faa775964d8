"""The server's process: start, stop, workers, sockets, settings, logs and metrics."""
