#include "softmax.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "huge_pages.hpp"
#include "instruction_sets.hpp"
#include "product.hpp"

namespace omnisage {
namespace {

constexpr std::size_t kMaxRows = 60;                            // of queries at a time; whole tiles of 6
constexpr std::size_t kBlockLogits = std::size_t{1} << 18;      // of one thread at a time: 1 MiB
constexpr std::size_t kChunkCandidates = std::size_t{1} << 12;  // at a time, where a logit is computed twice
constexpr std::size_t kPackWidth = 64;                          // candidates beside each other in a packed block
constexpr float kLowest = -std::numeric_limits<float>::infinity();

using Buffer = HugeVector<float>;

// Rows padded with zeros to a multiple of 16 numbers; the input itself where it has that width.
struct Padded {
  Padded(std::span<const float> values, std::size_t num_rows, std::size_t width)
      : row(round_up(width, kLanes)), data(values.data()) {
    if (row == width) return;
    copy.assign(num_rows * row, 0.0f);
    for (std::size_t i = 0; i < num_rows; ++i) {
      std::copy_n(values.data() + i * width, width, copy.data() + i * row);
    }
    data = copy.data();
  }

  std::size_t row;
  const float* data;
  Buffer copy;
};

// What the phases of one chunk of candidates work on. Rows of `logits` are those of the chunk of queries from
// `first_query` on; columns are the candidates from `first_candidate` on.
struct Chunk {
  const SoftmaxInput* input;
  const float* queries;     // [P, width]
  const float* candidates;  // [C, width]
  std::size_t width, num_queries;
  std::size_t first_candidate, num_candidates;
  std::size_t first_query;
  std::size_t rows_per_block;
  const float* packed;  // of candidate block i: [width, 64], candidates in columns
  const float* negative_log_q;
  float* logits;
  std::size_t logits_row;
  float* maxima;               // [P] of the logits so far
  float* sums;                 // [P] of exp(logit - maximum) so far
  float* positives;            // [P] logits of the positives
  float* queries_gradient;     // [P, width]
  float* candidates_gradient;  // [C, width]
};

// The logits of some queries, seen ones left out; and the positives' where they are in this chunk.
template <int kVectors>
[[gnu::always_inline]] inline void fill_logits(const Chunk& c, std::size_t begin, std::size_t end) {
  float* const first = c.logits + (begin - c.first_query) * c.logits_row;
  for (std::size_t block = 0; block < c.num_candidates; block += kPackWidth) {
    for (std::size_t r = begin; r < end; ++r) {
      std::memcpy(first + (r - begin) * c.logits_row + block, c.negative_log_q + block, kPackWidth * sizeof(float));
    }
    multiply<kVectors, true>(
        {c.queries + begin * c.width, c.width, 1, c.packed + block * c.width, kPackWidth, first + block, c.logits_row},
        end - begin, kPackWidth, c.width);
  }
  const auto& rows = c.input->seen_rows;
  const auto& columns = c.input->seen_columns;
  auto seen = std::lower_bound(rows.begin(), rows.end(), static_cast<std::int64_t>(begin)) - rows.begin();
  for (; seen < std::ssize(rows) && rows[seen] < static_cast<std::int64_t>(end); ++seen) {
    const std::size_t column = static_cast<std::size_t>(columns[seen]) - c.first_candidate;  // wraps where before
    if (column < c.num_candidates) first[(rows[seen] - begin) * c.logits_row + column] = kLowest;
  }
  for (std::size_t r = begin; r < end; ++r) {
    const std::size_t column = static_cast<std::size_t>(c.input->columns[r]) - c.first_candidate;
    if (column < c.num_candidates) c.positives[r] = first[(r - begin) * c.logits_row + column];
  }
}

[[gnu::always_inline]] inline float max_of_row(const float* row, std::size_t size) {
  Vector best = Vector{} + kLowest, next;
  for (std::size_t i = 0; i < size; i += kLanes) {
    load(row + i, next);
    best = next > best ? next : best;  // padding is -inf; a NaN is lost here and comes back with its exponential
  }
  return max_of(best);
}

// Adds a row's exponentials, relative to the largest logit so far, to its sum; keeps them if asked to.
template <bool kKeep>
[[gnu::always_inline]] inline void add_row(const Chunk& c, float* row, std::size_t r) {
  const float before = c.maxima[r], now = std::max(before, max_of_row(row, c.logits_row));
  const float shift = now > kLowest ? now : 0.0f;  // where all candidates so far have been seen
  Vector sum = {}, next;
  for (std::size_t i = 0; i < c.logits_row; i += kLanes) {
    load(row + i, next);
    next -= shift;
    exp_nonpositive(next);
    sum += next;
    if constexpr (kKeep) store(next, row + i);
  }
  c.sums[r] = (before > kLowest ? c.sums[r] * std::exp(before - now) : 0.0f) + sum_of(sum);
  c.maxima[r] = now;
}

// What the logits' sums are, when every chunk has been read.
struct SumLogits {
  template <int kVectors>
  [[gnu::always_inline]] static inline void run(const Chunk* chunk, std::size_t begin, std::size_t end) {
    fill_logits<kVectors>(*chunk, begin, end);
    for (std::size_t r = begin; r < end; ++r) {
      add_row<false>(*chunk, chunk->logits + (r - chunk->first_query) * chunk->logits_row, r);
    }
  }
};

// The gradient by the logits in their place, and what it adds to the gradient of the queries.
template <bool kSumsKnown>
struct FillGradient {
  template <int kVectors>
  [[gnu::always_inline]] static inline void run(const Chunk* chunk, std::size_t begin, std::size_t end) {
    const Chunk& c = *chunk;
    fill_logits<kVectors>(c, begin, end);
    float* const first = c.logits + (begin - c.first_query) * c.logits_row;
    for (std::size_t r = begin; r < end; ++r) {
      float* const row = first + (r - begin) * c.logits_row;
      if constexpr (!kSumsKnown) add_row<true>(c, row, r);
      const float factor = 1.0f / c.sums[r];
      Vector next;
      for (std::size_t i = 0; i < c.logits_row; i += kLanes) {
        load(row + i, next);
        if constexpr (kSumsKnown) {
          next -= c.maxima[r];
          exp_nonpositive(next);
        }
        next *= factor;
        store(next, row + i);
      }
      const std::size_t column = static_cast<std::size_t>(c.input->columns[r]) - c.first_candidate;
      if (column < c.num_candidates) row[column] -= 1.0f;
    }
    for (std::size_t block = 0; block < c.num_candidates; block += kPackWidth) {
      multiply<kVectors, true>({first + block, c.logits_row, 1, c.candidates + (c.first_candidate + block) * c.width,
                                c.width, c.queries_gradient + begin * c.width, c.width},
                               end - begin, c.width, std::min(kPackWidth, c.num_candidates - block));
    }
  }
};

// What the queries of the chunk add to the gradient of some of its candidates, in the order of the queries.
struct AddToCandidates {
  template <int kVectors>
  [[gnu::always_inline]] static inline void run(const Chunk* chunk, std::size_t begin, std::size_t end) {
    const Chunk& c = *chunk;
    for (std::size_t r = 0; r < c.num_queries; r += c.rows_per_block) {
      multiply<kVectors, true>(
          {c.logits + r * c.logits_row + begin, 1, c.logits_row, c.queries + (c.first_query + r) * c.width, c.width,
           c.candidates_gradient + (c.first_candidate + begin) * c.width, c.width},
          end - begin, c.width, std::min(c.rows_per_block, c.num_queries - r));
    }
  }
};

// Blocks of 64 candidates, transposed: what a product reads in order. Absent ones have logits of -inf.
void pack(const Chunk& c, std::span<const float> log_q, float* packed, float* negative_log_q, const Workers& workers) {
  parallel_for(c.logits_row / kPackWidth, 4, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin * kPackWidth; i < end * kPackWidth; ++i) {
      const bool exists = i < c.num_candidates;
      const float* const from = c.candidates + (c.first_candidate + i) * c.width;
      float* const to = packed + i / kPackWidth * kPackWidth * c.width + i % kPackWidth;
      for (std::size_t e = 0; e < c.width; ++e) to[e * kPackWidth] = exists ? from[e] : 0.0f;
      negative_log_q[i] = exists ? -log_q[c.first_candidate + i] : kLowest;
    }
  });
}

void check(const SoftmaxInput& input, std::size_t num_candidates) {
  const auto require = [](bool condition, const char* name, std::size_t i, std::int64_t value, std::size_t bound) {
    if (condition) return;
    throw std::out_of_range(std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(value) +
                            "; it must be in 0 .. " + std::to_string(bound) + " - 1");
  };
  const auto is_below = [](std::int64_t value, std::size_t bound) { return static_cast<std::uint64_t>(value) < bound; };
  const std::size_t num_queries = input.columns.size();
  for (std::size_t i = 0; i < num_queries; ++i) {
    require(is_below(input.columns[i], num_candidates), "columns", i, input.columns[i], num_candidates);
  }
  for (std::size_t i = 0; i < input.seen_rows.size(); ++i) {
    require(is_below(input.seen_rows[i], num_queries), "seen_rows", i, input.seen_rows[i], num_queries);
    require(is_below(input.seen_columns[i], num_candidates), "seen_columns", i, input.seen_columns[i], num_candidates);
    if (i > 0 && input.seen_rows[i] < input.seen_rows[i - 1]) {
      throw std::invalid_argument("seen_rows[" + std::to_string(i) +
                                  "] is less than the one before; rows must not fall");
    }
  }
}

// Goes through all queries of a chunk of candidates, some blocks at a time.
template <typename Phase>
void for_queries(Chunk& c, std::size_t num_queries, std::size_t rows_at_once, bool has_gradient,
                 const Workers& workers) {
  for (c.first_query = 0; c.first_query < num_queries; c.first_query += rows_at_once) {
    c.num_queries = std::min(rows_at_once, num_queries - c.first_query);
    parallel_for(c.num_queries, c.rows_per_block, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
      run_best<Phase, const Chunk*>(&c, c.first_query + begin, c.first_query + end);
    });
    if (!has_gradient) continue;
    constexpr std::size_t kCandidates = 96;  // a whole number of tiles
    parallel_for(c.num_candidates, kCandidates, workers, [&](std::size_t, std::size_t begin, std::size_t end) {
      run_best<AddToCandidates, const Chunk*>(&c, begin, end);
    });
  }
}

}  // namespace

void softmax_loss(const SoftmaxInput& input, const SoftmaxOutput& output, const Workers& workers) {
  const std::size_t num_queries = input.columns.size(), num_candidates = input.log_q.size();
  check(input, num_candidates);
  if (num_queries == 0 || num_candidates == 0) return;
  const std::size_t width = input.queries.size() / num_queries;
  const Padded queries(input.queries, num_queries, width), candidates(input.candidates, num_candidates, width);
  const bool is_padded = queries.row != width;
  Buffer queries_gradient, candidates_gradient;
  if (is_padded) {
    queries_gradient.assign(num_queries * queries.row, 0.0f);
    candidates_gradient.assign(num_candidates * queries.row, 0.0f);
  } else {
    std::fill(output.queries_gradient.begin(), output.queries_gradient.end(), 0.0f);
    std::fill(output.candidates_gradient.begin(), output.candidates_gradient.end(), 0.0f);
  }
  const bool is_one_pass = num_candidates <= kMaxOnePass;
  const std::size_t chunk = is_one_pass ? num_candidates : kChunkCandidates;
  const std::size_t row = round_up(chunk, kPackWidth);
  const std::size_t rows_per_block = std::clamp<std::size_t>(kBlockLogits / row / 6 * 6, 12, kMaxRows);
  const std::size_t rows_at_once = std::min(rows_per_block * (workers.count() == 1 ? 1 : 4 * workers.count()),
                                            round_up(num_queries, rows_per_block));
  Buffer packed(row * queries.row), negative_log_q(row), logits(rows_at_once * row);
  std::vector<float> maxima(num_queries, kLowest), sums(num_queries, 0.0f), positives(num_queries);
  if (!input.others.empty()) {
    std::copy(input.others.begin(), input.others.end(), maxima.begin());
    std::fill(sums.begin(), sums.end(), 1.0f);
  }
  Chunk c{.input = &input,
          .queries = queries.data,
          .candidates = candidates.data,
          .width = queries.row,
          .num_queries = 0,
          .first_candidate = 0,
          .num_candidates = 0,
          .first_query = 0,
          .rows_per_block = rows_per_block,
          .packed = packed.data(),
          .negative_log_q = negative_log_q.data(),
          .logits = logits.data(),
          .logits_row = row,
          .maxima = maxima.data(),
          .sums = sums.data(),
          .positives = positives.data(),
          .queries_gradient = is_padded ? queries_gradient.data() : output.queries_gradient.data(),
          .candidates_gradient = is_padded ? candidates_gradient.data() : output.candidates_gradient.data()};
  for (const bool sums_known : {false, true}) {
    if (is_one_pass && sums_known) break;
    for (c.first_candidate = 0; c.first_candidate < num_candidates; c.first_candidate += chunk) {
      c.num_candidates = std::min(chunk, num_candidates - c.first_candidate);
      c.logits_row = round_up(c.num_candidates, kPackWidth);
      pack(c, input.log_q, packed.data(), negative_log_q.data(), workers);
      if (is_one_pass) {
        for_queries<FillGradient<false>>(c, num_queries, rows_at_once, true, workers);
      } else if (sums_known) {
        for_queries<FillGradient<true>>(c, num_queries, rows_at_once, true, workers);
      } else {
        for_queries<SumLogits>(c, num_queries, rows_at_once, false, workers);
      }
    }
  }
  for (std::size_t r = 0; r < num_queries; ++r) {
    output.losses[r] = static_cast<float>(std::log(double{sums[r]}) + (double{maxima[r]} - double{positives[r]}));
  }
  if (!is_padded) return;
  for (std::size_t r = 0; r < num_queries; ++r) {
    std::copy_n(queries_gradient.data() + r * queries.row, width, output.queries_gradient.data() + r * width);
  }
  for (std::size_t i = 0; i < num_candidates; ++i) {
    std::copy_n(candidates_gradient.data() + i * queries.row, width, output.candidates_gradient.data() + i * width);
  }
}

}  // namespace omnisage
