// Weighted sums of rows that lie far apart: what attention reads of neighbors before their tokens are projected.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "parallel.hpp"

namespace omnisage {

// Some of the channels of all U rows.
struct RowsPart {
  std::span<const float> values;  // [U, width]
  std::size_t width;              // a multiple of 16
};

// B anchors of K slots, each with a row and G weights. A row is cut in parts, which together are Z channels wide.
struct WeightedSumsInput {
  std::size_t num_anchors, num_slots, num_weights, num_rows;  // B, K, G, U
  std::vector<RowsPart> parts;
  std::span<const std::int64_t> rows;     // [B, K]
  std::span<const std::uint8_t> present;  // [B, K] 0 where the slot is empty
  std::span<const float> weights;         // [B, K, G]

  std::size_t width() const {
    std::size_t sum = 0;
    for (const RowsPart& part : parts) sum += part.width;
    return sum;
  }
};

// sums[g, b] = the sum over the present slots k of anchor b of weights[b, k, g] * (row of slot k); [G, B, Z]. Empty
// slots cost nothing. O(B K G Z). Throws std::out_of_range at a row that is not in 0 .. U - 1.
//
// Example: B = K = G = 1, weight .5 and a row {2, ...} give {1, ...}.
void sum_weighted(const WeightedSumsInput& input, std::span<float> sums, const Workers& workers);

// The gradients of a loss by the weights [B, K, G], and by those parts that have a place for it [U, width] (others are
// empty), from its gradient by `sums`. Each thread has its channels and goes through the anchors in order, so that the
// result is the same for any number of threads.
void sum_weighted_backward(const WeightedSumsInput& input, std::span<const float> by_sums, std::span<float> by_weights,
                           const std::vector<std::span<float>>& by_parts, const Workers& workers);

}  // namespace omnisage
