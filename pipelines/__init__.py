"""The commands `python -m pipelines.NAME` and the pipeline that they compile, upload and run."""

import sys

from continuous_training.core.command import begin_start_up

# Python sets argv[0] to "-m" while it imports the package of a module that it will run as a command.
if sys.argv[:1] == ["-m"]:
    begin_start_up()
