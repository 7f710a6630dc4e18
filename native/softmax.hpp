// Softmax over many candidates: the loss of every query and, in the same pass, all gradients (OmniSage Algorithm 1).
#pragma once

#include <cstdint>
#include <span>

#include "parallel.hpp"

namespace omnisage {

// P queries and C candidates of width E. The logit of a query p and a candidate c is queries[p] . candidates[c] -
// log_q[c]; -inf where (p, c) is among the pairs (seen_rows, seen_columns), whose rows must not fall.
struct SoftmaxInput {
  std::span<const float> queries;         // [P, E]
  std::span<const float> candidates;      // [C, E]
  std::span<const float> log_q;           // [C]
  std::span<const std::int64_t> columns;  // [P] the positive of each query
  std::span<const std::int64_t> seen_rows, seen_columns;
  std::span<const float> others;  // [P] log of the sum of the exponentials of further logits; or empty
};

struct SoftmaxOutput {
  std::span<float> losses;               // [P] -log softmax at the positive
  std::span<float> queries_gradient;     // [P, E] of the sum of losses
  std::span<float> candidates_gradient;  // [C, E]
};

// Never holds all P x C logits: scratch is a few MB for any P and C. Up to kMaxOnePass candidates a logit is computed
// once; beyond, twice: first for the sums, then for the gradients. O(P C E). The same bytes for any number of threads.
// Throws std::out_of_range at a column, a seen row or a seen column out of range, and std::invalid_argument where seen
// rows fall.
//
// Example: P = C = 2, E = 1, queries {1, 2}, candidates {0, 1}, log_q {0, 0}, columns {0, 1} gives losses
// {log(1 + e), log(1 + e^-2)} = {1.3133, 0.1269}.
constexpr std::size_t kMaxOnePass = std::size_t{1} << 14;
void softmax_loss(const SoftmaxInput& input, const SoftmaxOutput& output, const Workers& workers);

}  // namespace omnisage
