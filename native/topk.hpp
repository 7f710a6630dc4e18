// The k largest entries of every row.
#pragma once

#include <cstdint>
#include <span>

#include "parallel.hpp"

namespace omnisage {

// Writes the k largest of each row of `scores` [num_rows, num_columns], largest first, equal ones by index.
//
// -inf never enters: where fewer than k entries are above -inf, the rest is (-inf, kEmpty). k may exceed
// num_columns. Throws std::invalid_argument at a NaN, naming its place. O(columns + k log k log columns) per
// row for scores in random order. values and indices are [num_rows, k].
//
// Example: scores {1, 3, -inf, 3}, k = 4 gives values {3, 3, 1, -inf}, indices {1, 3, 0, kEmpty}.
void topk(std::span<const float> scores, std::size_t num_columns, std::size_t k, std::span<float> values,
          std::span<std::uint32_t> indices, const Workers& workers);

}  // namespace omnisage
