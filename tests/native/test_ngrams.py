"""Twin: hashed n-grams against the definition in `native/ngrams.hpp`, word by word."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisage import _native
from omnisage.randomness import splitmix64

WORD = re.compile(rb"[0-9a-zA-Z\x80-\xff]+")


def token(kind: int, text: bytes) -> int:
    state = 0xCBF29CE484222325
    for byte in text:
        state = (state ^ byte) * 0x100000001B3 % 2**64
    salt = int(splitmix64(np.array([kind], np.uint64))[0])
    return int(splitmix64(np.array([state ^ salt], np.uint64))[0])


def tokens_of(text: str) -> list[int]:
    tokens: list[int] = []
    words = WORD.findall(text.encode())
    for number, word in enumerate(words):
        tokens.append(token(1, word))
        if number > 0:
            tokens.append(token(2, words[number - 1] + b" " + word))
        marked = f"<{word.decode()}>"
        tokens += [token(3, marked[i : i + 3].encode()) for i in range(len(marked) - 2)]
    return list(dict.fromkeys(tokens))


def hash_texts(texts: list[str], num_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return _native.ngram_hashes(np.frombuffer(b"".join(encoded), np.uint8), offsets, num_threads=num_threads)


@given(st.lists(st.text(alphabet="ab1 -é日🎬", max_size=12), max_size=6))
def test_tokens_are_the_distinct_ngrams_in_order_of_appearance(texts: list[str]) -> None:
    indptr, tokens = hash_texts(texts)
    assert indptr.dtype == tokens.dtype == np.uint64
    assert [tokens[a:b].tolist() for a, b in pairwise(indptr)] == list(map(tokens_of, texts))


def test_one_and_many_threads_give_the_same_tokens() -> None:
    texts = [f"movie {i % 97} part {i}" for i in range(5000)]
    for one, two in zip(hash_texts(texts, 1), hash_texts(texts, 2), strict=True):
        assert one.tobytes() == two.tobytes()


def test_bytes_that_are_not_utf8_are_hashed_without_reading_outside_the_text() -> None:
    data = np.frombuffer(b"\x80\xffa\xe3", np.uint8)
    indptr, _ = _native.ngram_hashes(data, np.array([0, 3, 4]))
    assert indptr[1] > 0


@pytest.mark.parametrize("offsets", [[0, 9], [2, 1], [-1, 2], []])
def test_offsets_outside_the_data_are_refused(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="offsets"):
        _native.ngram_hashes(np.zeros(3, np.uint8), np.array(offsets, dtype=np.int64))
