"""The models: one folder each. See contract.py for what a workload is.

Any folder named `workloads` on the Python path contributes its workloads, so one can also live in a
repository of its own.
"""

from pkgutil import extend_path

from .deprecated_names import install

__path__ = extend_path(__path__, __name__)
install()
