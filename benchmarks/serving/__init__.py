"""Compare the speed of this server with other servers: same archive, same cores, one run."""
