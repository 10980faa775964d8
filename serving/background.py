"""Run a background server: `python -m serving.background`, the command line of servers of version 0.1.

Such a server replaces itself by a process with the same command line when it hangs.
"""

import sys

from continuous_training.serving.process.background import main

if __name__ == "__main__":
    sys.exit(main())
