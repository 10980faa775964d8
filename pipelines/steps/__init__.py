"""Settings for the execution of each step on a cluster: the defaults, and a file that changes them."""
