// Hashed n-grams of texts, the tokens of text features (OmniSage §3.2).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel.hpp"

namespace omnisage {

// Tokens of text i are tokens[indptr[i] : indptr[i + 1]].
struct Ngrams {
  std::vector<std::uint64_t> indptr;
  std::vector<std::uint64_t> tokens;
};

// Hashes the word unigrams, word bigrams and character trigrams of every text; text i is
// data[offsets[i] : offsets[i + 1]], UTF-8 and already lower-cased.
//
// A word is a maximal run of ASCII letters, digits and bytes >= 0x80. Word after word come: the word; the
// previous word, a space and the word; and the trigrams of code points of "<word>". A token is
// splitmix64(FNV-1a(bytes) ^ splitmix64(kind)), kind = 1, 2, 3 for the three. Within a text tokens are
// distinct, in order of first appearance. O(bytes) time; needs offsets that rise within data.
//
// Example: "a cat" gives tokens for: a | <a> | cat | "a cat" | <ca | cat (as trigram) | at>.
Ngrams ngram_hashes(std::span<const std::uint8_t> data, std::span<const std::int64_t> offsets, const Workers& workers);

}  // namespace omnisage
