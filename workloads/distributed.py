"""The processes that train one model together: torch's DistributedDataParallel over gloo.

torchrun starts the same command once for each of them, on one machine or on several, and tells them of each
other. A process that it did not start is alone, and nothing here costs it anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn


@dataclass(frozen=True)
class Peers:
    """This process's number among all of them, from 0, and how many there are."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that tells, saves and writes for all."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module such that a backward pass leaves the mean of everybody's gradients."""
        return nn.parallel.DistributedDataParallel(module) if self.count > 1 else module

    def part(self, rows: int) -> slice:
        """Return this process's share of that many rows; the shares are as equal as can be."""
        return slice(rows * self.rank // self.count, rows * (self.rank + 1) // self.count)

    def total(self, values: Sequence[float]) -> list[float]:
        """Return everybody's values added up, one by one."""
        if self.count == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums)
        return list(sums.tolist())

    def first_ones(self, state: bytes | None) -> bytes | None:
        """Return what the first process gave here, whatever the others gave."""
        if self.count == 1:
            return state
        length = torch.tensor(-1 if state is None else len(state))
        distributed.broadcast(length, 0)
        if length < 0:
            return None
        content = torch.empty(int(length), dtype=torch.uint8)
        if self.first and state:
            content = torch.frombuffer(bytearray(state), dtype=torch.uint8)
        distributed.broadcast(content, 0)
        return content.numpy().tobytes()


ALONE = Peers()


@contextmanager
def joined() -> Iterator[Peers]:
    """Yield the processes that torchrun started together with this one, or this one alone."""
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield ALONE
        return
    distributed.init_process_group("gloo")
    try:
        yield Peers(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
