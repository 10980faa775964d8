"""Download one archive into a folder: `python -m serving.fetch`, the init container of a TorchServe pod."""

import sys

from continuous_training.serving.process.fetch import main

if __name__ == "__main__":
    sys.exit(main())
