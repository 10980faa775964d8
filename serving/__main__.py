"""The server's commands: `python -m serving start | stop | status | serve`."""

import sys

from continuous_training.serving.process.cli import main

if __name__ == "__main__":
    sys.exit(main())
