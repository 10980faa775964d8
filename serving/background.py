"""Run a background server: `python -m serving.background`, the command line of older versions.

A server that was started with this command line and whose handler hangs replaces its process by a new one
with the same command line.
"""

import sys

from continuous_training.serving.process.background import main

if __name__ == "__main__":
    sys.exit(main())
