#include "ngrams.hpp"

#include <bit>

#include "hash.hpp"

namespace omnisage {
namespace {

using Bytes = std::span<const std::uint8_t>;
using Tokens = std::vector<std::uint64_t>;

constexpr std::size_t kTextsPerChunk = 1024;
constexpr std::uint64_t kFnvBasis = 0xCBF29CE484222325u;
constexpr std::uint64_t kFnvPrime = 0x100000001B3u;
constexpr std::uint64_t kUnigramSalt = splitmix64(1);
constexpr std::uint64_t kBigramSalt = splitmix64(2);
constexpr std::uint64_t kTrigramSalt = splitmix64(3);

std::uint64_t fnv1a(Bytes bytes, std::uint64_t state = kFnvBasis) {
  for (const std::uint8_t byte : bytes) state = (state ^ byte) * kFnvPrime;
  return state;
}

std::uint64_t fnv1a(char byte, std::uint64_t state) { return (state ^ static_cast<std::uint8_t>(byte)) * kFnvPrime; }

bool is_in_word(std::uint8_t byte) {
  return byte >= 0x80 || (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

bool is_continuation(std::uint8_t byte) { return (byte & 0xC0) == 0x80; }

// Appends the tokens of texts, dropping repetitions; one per thread, so that its buffers are reused.
class Tokenizer {
 public:
  void append(Bytes text, Tokens& out) {
    all_.clear();
    std::size_t end = 0;
    Bytes previous;
    while (true) {
      std::size_t begin = end;
      while (begin < text.size() && !is_in_word(text[begin])) ++begin;
      if (begin == text.size()) break;
      end = begin;
      while (end < text.size() && is_in_word(text[end])) ++end;
      const Bytes word = text.subspan(begin, end - begin);
      add_words(word, previous);
      add_trigrams(word);
      previous = word;
    }
    append_distinct(out);
  }

 private:
  void add_words(Bytes word, Bytes previous) {
    all_.push_back(splitmix64(fnv1a(word) ^ kUnigramSalt));
    if (previous.empty()) return;
    all_.push_back(splitmix64(fnv1a(word, fnv1a(' ', fnv1a(previous))) ^ kBigramSalt));
  }

  // Code points of "<word>" are code_point(0) .. code_point(n + 1); the markers cannot stand in a word.
  void add_trigrams(Bytes word) {
    starts_.clear();
    for (std::size_t i = 0; i < word.size(); ++i) {
      if (i == 0 || !is_continuation(word[i])) starts_.push_back(i);
    }
    const std::size_t num_points = starts_.size();
    starts_.push_back(word.size());
    for (std::size_t middle = 0; middle < num_points; ++middle) {
      const std::size_t first = starts_[middle == 0 ? 0 : middle - 1];
      const std::size_t last = starts_[std::min(middle + 2, num_points)];
      std::uint64_t state = middle == 0 ? fnv1a('<', kFnvBasis) : kFnvBasis;
      state = fnv1a(word.subspan(first, last - first), state);
      if (middle + 1 == num_points) state = fnv1a('>', state);
      all_.push_back(splitmix64(state ^ kTrigramSalt));
    }
  }

  void append_distinct(Tokens& out) {
    if (all_.empty()) return;
    const std::size_t mask = std::bit_ceil(2 * all_.size()) - 1;
    seen_.assign(mask + 1, 0);  // slot: 1 + position in all_, 0 if free
    for (std::size_t position = 0; position < all_.size(); ++position) {
      const std::uint64_t token = all_[position];
      std::size_t slot = token & mask;
      while (seen_[slot] != 0 && all_[seen_[slot] - 1] != token) slot = (slot + 1) & mask;
      if (seen_[slot] != 0) continue;
      seen_[slot] = position + 1;
      out.push_back(token);
    }
  }

  Tokens all_;
  std::vector<std::size_t> starts_;
  std::vector<std::size_t> seen_;
};

}  // namespace

Ngrams ngram_hashes(Bytes data, std::span<const std::int64_t> offsets, const Workers& workers) {
  const std::size_t num_texts = offsets.size() - 1;
  Ngrams result;
  result.indptr.assign(num_texts + 1, 0);
  std::vector<Tokens> chunks((num_texts + kTextsPerChunk - 1) / kTextsPerChunk);
  std::vector<Tokenizer> tokenizers(workers.count());
  parallel_for(num_texts, kTextsPerChunk, workers, [&](std::size_t thread, std::size_t begin, std::size_t end) {
    Tokens& tokens = chunks[begin / kTextsPerChunk];
    for (std::size_t i = begin; i < end; ++i) {
      const auto first = static_cast<std::size_t>(offsets[i]);
      const std::size_t before = tokens.size();
      tokenizers[thread].append(data.subspan(first, static_cast<std::size_t>(offsets[i + 1]) - first), tokens);
      result.indptr[i + 1] = tokens.size() - before;
    }
  });
  for (std::size_t i = 0; i < num_texts; ++i) result.indptr[i + 1] += result.indptr[i];
  result.tokens.reserve(result.indptr[num_texts]);
  for (Tokens& tokens : chunks) {
    result.tokens.insert(result.tokens.end(), tokens.begin(), tokens.end());
    Tokens().swap(tokens);  // free as we go, so the peak stays near one copy
  }
  return result;
}

}  // namespace omnisage
