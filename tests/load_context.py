"""The argument `context` of `Workload.load`, for tests that read local files only."""

from pathlib import Path

from continuous_training.adapters.downloader import Downloader
from workloads.contract import LoadContext

LOCAL_FILES = LoadContext(Downloader(Path("unused-cache"), print).fetch, print)
