"""The deprecated name of `workloads.tabular_requests`, which works until version 0.4.

It is a file, and not an entry of `workloads.deprecated_names`, because a handler that imports it relatively
(`from ..fields import read_rows`) travels with the files of such imports.
"""

import warnings

from .tabular_requests import LARGEST, read_rows

__all__ = ["LARGEST", "read_rows"]

warnings.warn(
    "the module workloads.fields is now workloads.tabular_requests; the former name works until version 0.4",
    DeprecationWarning,
    stacklevel=2,
)
