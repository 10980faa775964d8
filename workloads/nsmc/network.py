"""The deep model: a convolutional network (Kim, EMNLP 2014) on characters and hashed bigrams."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .tokens import BIGRAMS, CHARACTERS, PADDING

WIDTH = 64
FILTERS = 160


class Network(nn.Module):
    """Scores texts with the log-odds of the class positive."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(CHARACTERS, WIDTH, padding_idx=0, sparse=True)
        self.bigrams = nn.Embedding(BIGRAMS, WIDTH, padding_idx=0, sparse=True)
        for table in (self.characters, self.bigrams):
            nn.init.normal_(table.weight, std=0.1)
            table.weight.data[0] = 0
        self.filters = nn.ModuleList(nn.Conv1d(WIDTH, FILTERS, size) for size in range(2, PADDING))
        self.out = nn.Linear(FILTERS * len(self.filters), 1)

    def forward(self, characters: Tensor, bigrams: Tensor) -> Tensor:
        """Return scores, float32 [texts], for two arrays of int64 [texts, positions]; see tokens.py."""
        unigram = functional.dropout1d(self.characters(characters).transpose(1, 2), 0.1, self.training)
        bigram = functional.dropout1d(self.bigrams(bigrams).transpose(1, 2), 0.1, self.training)
        embedded = functional.dropout(unigram + bigram, 0.2, self.training)
        pooled = [functional.relu(convolution(embedded)).amax(dim=2) for convolution in self.filters]
        features = functional.dropout(torch.cat(pooled, dim=1), 0.5, self.training)
        return self.out(features).squeeze(1)
