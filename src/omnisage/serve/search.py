"""Entities by what their names or ids contain: words that begin as the words asked for, in any order.

A scan of all names of a type, by Arrow: about 10 ms for a million.
"""

import unicodedata

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnisage.arrow import compute


def searchable(names: pa.Array, ids: pa.Array) -> pa.Array:
    """Names and ids as they are searched: lower case, without accents, a blank around every word."""
    ids = ids.cast(pa.string())
    # Beside a name that is the id, the id would count twice.
    texts = compute.if_else(compute.equal(names, ids), names, compute.binary_join_element_wise(names, ids, " "))
    texts = compute.utf8_lower(compute.replace_substring_regex(compute.utf8_normalize(texts, "NFKD"), r"\p{Mn}", ""))
    words = compute.utf8_trim_whitespace(compute.replace_substring_regex(texts, r"[^\p{L}\p{N}]+", " "))
    return compute.binary_join_element_wise("", words, "", " ")


def query_words(query: str) -> list[str]:
    """What people type, as words that can be searched; as `searchable`, but at once for one text."""
    letters = [letter for letter in unicodedata.normalize("NFKD", query) if unicodedata.category(letter) != "Mn"]
    return "".join(letter if unicodedata.category(letter)[0] in "LN" else " " for letter in letters).lower().split()


def search_names(
    texts: pa.Array, words: list[str], popularity: NDArray[np.int64], limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The entities whose texts have a word beginning with each word of the query.

    Args:
        texts: [N], of `searchable`.
        words: of `query_words`; none: every entity is found.
        popularity: [N].
        limit: how many, at most.

    Returns:
        Ids [n <= limit], best first, and how good: 2 begins with these words, 1 with these letters, 0 has them
        somewhere; equally good ones by popularity.
    """
    found = np.ones(len(texts), np.bool_)
    for word in dict.fromkeys(words):
        found &= compute.match_substring(texts, f" {word}").to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(found)
    taken, begin = texts.take(pa.array(rows)), f" {' '.join(words)}"
    ranks = np.zeros(len(rows), np.int64)
    for text in (begin, f"{begin} "):
        ranks += compute.starts_with(taken, text).to_numpy(zero_copy_only=False)
    order = np.lexsort((rows, -popularity[rows], -ranks))[:limit]
    return rows[order], ranks[order]
