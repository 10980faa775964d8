"""Compare a challenger with the champion and decide on its promotion. Performs no I/O."""
