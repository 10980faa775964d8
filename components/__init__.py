"""The steps of the pipeline, one package each."""

import os

# Arrow's own allocators keep the memory of a few batches in each thread, 40 MB in prep-data.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
