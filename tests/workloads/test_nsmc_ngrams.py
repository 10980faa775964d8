"""Tests of the n-grams of nsmc: they are the same for a single text and for a text in a batch."""

from __future__ import annotations

import unicodedata

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workloads.nsmc.ngrams import BUCKETS, ORDERS, ngrams, score
from workloads.nsmc.tokens import MAX_LENGTH, PADDING, tokens

# Surrogates and control characters are valid input.
TEXTS = st.text(st.characters(codec=None), max_size=40)
TABLE = np.random.default_rng(0).normal(size=BUCKETS).astype(np.float32)


def of(text: str) -> list[list[int]]:
    return ngrams([text])[0].tolist()


def test_every_order_includes_the_ngrams_at_the_edges() -> None:
    buckets, starts = ngrams(["가나", "다"])
    assert (buckets.shape, buckets.dtype, starts.tolist()) == ((ORDERS, 5), np.int32, [0, 3])
    # The n-grams of ^가나$ are: ^ 가 나, ^가 가나 나$, ^가나 가나$, ^가나$.
    assert (buckets[:, :3] > 0).tolist() == [
        [True] * 3,
        [True] * 3,
        [True, True, False],
        [True, False, False],
    ]
    used = buckets[buckets > 0]
    assert len(set(used.tolist())) == len(used) - 1, "only the n-gram of the beginning must occur twice"
    assert 0 < used.min() < used.max() < BUCKETS


def test_spacing_composition_and_line_breaks_do_not_matter() -> None:
    plain = of("재미있다")
    for variant in ("재미 있다", " 재미\t있다\n", "재미\n있다\r\n", "재미\u3000있다\xa0", "재\0미있다"):
        assert of(variant) == plain
    assert of(unicodedata.normalize("NFD", "재미있다")) == plain
    assert of("재미없다") != plain


def test_an_empty_text_has_a_start_and_ngrams() -> None:
    assert of("") == of("  \n") != of("가")
    buckets, starts = ngrams(["", "가", ""])
    assert starts.tolist() == [0, 1, 3]
    assert (buckets[:2] > 0).all()


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_a_text_has_the_same_ngrams_alone_and_in_a_batch(texts: list[str]) -> None:
    buckets, starts = ngrams(texts)
    assert len(starts) == len(texts)
    parts = np.split(buckets, starts[1:], axis=1)
    for text, part in zip(texts, parts, strict=True):
        assert part.tolist() == of(text)
    scores = score(TABLE, buckets, starts)
    alone = [score(TABLE, *ngrams([text]))[0] for text in texts]
    np.testing.assert_allclose(scores, alone, rtol=1e-5, atol=1e-5)


def test_the_score_is_the_sum_divided_by_the_root_of_the_count() -> None:
    buckets, starts = ngrams(["가나", "다"])
    np.testing.assert_allclose(
        score(TABLE, buckets, starts),
        [TABLE[buckets[:, :3]].sum() / 12**0.5, TABLE[buckets[:, 3:]].sum() / 8**0.5],
        rtol=1e-5,
    )


def test_tokens_are_padded_at_the_end_and_truncated_at_the_maximum() -> None:
    characters, bigrams = tokens(*ngrams(["가나다", "가", "가" * 1000]))
    assert characters.shape == bigrams.shape == (3, MAX_LENGTH + PADDING)
    assert characters.dtype == bigrams.dtype == np.int64
    assert (characters > 0).sum(axis=1).tolist() == [4, 2, MAX_LENGTH]
    assert (bigrams > 0).sum(axis=1).tolist() == [4, 2, MAX_LENGTH]
    assert characters[0, 1] == characters[1, 1] == characters[2, 7]
    alone, _ = tokens(*ngrams(["가"]))
    assert alone.tolist() == [characters[1, : 2 + PADDING].tolist()]
