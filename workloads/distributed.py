"""Train one model in several processes with torch's DistributedDataParallel over gloo.

torchrun starts the same command once per process, on one machine or on several. A process that was not
started by torchrun is a group of one, without any cost.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn

from continuous_training.core.errors import TransientError


@dataclass(frozen=True)
class ProcessGroup:
    """The group of processes that train together: the rank of this process, and the world size."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process has rank 0, which reports, saves and writes for all."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module, wrapped so that a backward pass averages the gradients of all processes."""
        return nn.parallel.DistributedDataParallel(module) if self.world_size > 1 else module

    def shard(self, rows: int) -> slice:
        """Return this process's share of a number of rows. Shares differ by at most one row."""
        return slice(rows * self.rank // self.world_size, rows * (self.rank + 1) // self.world_size)

    def all_reduce(self, values: Sequence[float]) -> list[float]:
        """Return the elementwise sums of the values of all processes."""
        if self.world_size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums)
        return list(sums.tolist())

    def broadcast(self, state: bytes | None) -> bytes | None:
        """Return the bytes of rank 0 in all processes."""
        if self.world_size == 1:
            return state
        length = torch.tensor(-1 if state is None else len(state))
        distributed.broadcast(length, 0)
        if length < 0:
            return None
        content = torch.empty(int(length), dtype=torch.uint8)
        if self.is_first and state:
            content = torch.frombuffer(bytearray(state), dtype=torch.uint8)
        distributed.broadcast(content, 0)
        return content.numpy().tobytes()

    def __getattr__(self, name: str) -> Any:
        """Return a member under its former name, with a DeprecationWarning."""
        if name in _FORMER_MEMBERS:
            _warn(f"ProcessGroup.{name}", _FORMER_MEMBERS[name])
            return getattr(self, _FORMER_MEMBERS[name])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


SINGLE_PROCESS = ProcessGroup()


@contextmanager
def process_group() -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started, for the block. Without torchrun, yield a group of one.

    Raises TransientError if the connection to another process is lost, because that process ended.
    """
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield SINGLE_PROCESS
        return
    distributed.init_process_group("gloo")
    try:
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size())
    except RuntimeError as error:
        # gloo raises a plain RuntimeError, with the path of its source file in the message.
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise TransientError(
                f"the connection to another process of the training was lost: {error}"
            ) from error
        raise
    finally:
        distributed.destroy_process_group()


_FORMER_NAMES = {"Peers": "ProcessGroup", "ALONE": "SINGLE_PROCESS", "joined": "process_group"}
_FORMER_MEMBERS = {
    "count": "world_size",
    "first": "is_first",
    "part": "shard",
    "total": "all_reduce",
    "first_ones": "broadcast",
}


def __getattr__(name: str) -> Any:
    """Return an object under its former name, with a DeprecationWarning."""
    if name in _FORMER_NAMES:
        _warn(name, _FORMER_NAMES[name])
        return globals()[_FORMER_NAMES[name]]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"workloads.distributed: {old} is now {new}; the former name works until version 0.4",
        DeprecationWarning,
        stacklevel=3,
    )
