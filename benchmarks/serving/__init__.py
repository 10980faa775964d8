"""How fast the server is beside others: the same archive, the same cores, one run."""
