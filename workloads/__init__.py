"""The workloads, one folder each. contract.py defines the interface of a workload.

Each folder named `workloads` on the Python path contributes its workloads, so a workload can be in another
repository.
"""

from pkgutil import extend_path

from .deprecated_names import install

__path__ = extend_path(__path__, __name__)
install()
