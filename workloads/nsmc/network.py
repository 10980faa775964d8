"""The deep model: a character convolution network (Kim, EMNLP 2014) that sees hashed bigrams as well."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .tokens import BIGRAMS, CHARACTERS, MARGIN

WIDTH = 64
FILTERS = 160


class Network(nn.Module):
    """Scores texts: a logarithm of the odds for positive."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(CHARACTERS, WIDTH, padding_idx=0, sparse=True)
        self.bigrams = nn.Embedding(BIGRAMS, WIDTH, padding_idx=0, sparse=True)
        for table in (self.characters, self.bigrams):
            nn.init.normal_(table.weight, std=0.1)
            table.weight.data[0] = 0
        self.filters = nn.ModuleList(nn.Conv1d(WIDTH, FILTERS, size) for size in range(2, MARGIN))
        self.out = nn.Linear(FILTERS * len(self.filters), 1)

    def forward(self, characters: Tensor, bigrams: Tensor) -> Tensor:
        """Return float32 [texts] for int64 [texts, places] twice; see tokens.py."""
        seen = functional.dropout1d(self.characters(characters).transpose(1, 2), 0.1, self.training)
        more = functional.dropout1d(self.bigrams(bigrams).transpose(1, 2), 0.1, self.training)
        together = functional.dropout(seen + more, 0.2, self.training)
        pooled = [functional.relu(one(together)).amax(dim=2) for one in self.filters]
        kept = functional.dropout(torch.cat(pooled, dim=1), 0.5, self.training)
        return self.out(kept).squeeze(1)
