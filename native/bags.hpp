// Sums of table rows per bag: hash embeddings of texts, and categories (OmniSage §3.2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "parallel.hpp"

namespace omnisage {

// U bags of n values together; value i stands for H rows of a table, weighted by a row of importances. Value i is in
// bag u for offsets[u] <= i < offsets[u + 1].
struct BagsInput {
  std::size_t num_hashes, width, num_rows;  // H, V, R
  std::span<const std::uint32_t> rows;      // [n, H + 1] of the table, then of importance; [n, H] without importance
  std::span<const std::int64_t> offsets;    // [U + 1]
  std::span<const float> table;             // [R, V]
  std::span<const float> importance;        // [R, H]; empty: all are 1

  std::size_t columns() const { return num_hashes + (importance.empty() ? 0 : 1); }
};

// Buckets [n, M] of n values under M multiply-shift hash functions: bits 20 to 62 of value * multiplier, wrapped
// around, modulo num_buckets.
//
// Example: value 3 and multiplier 2^20 give 3 % num_buckets.
void hash_buckets(std::span<const std::int64_t> values, std::span<const std::int64_t> multipliers,
                  std::uint32_t num_buckets, std::span<std::uint32_t> buckets, const Workers& workers);

// sums[u] = the sum over the values of bag u and hash functions h of importance[its row, h] * table[its row for h];
// sums is [U, V]. O(n H V). Throws std::out_of_range at a row that is not in 0 .. R - 1.
void sum_bags(const BagsInput& input, std::span<float> sums, const Workers& workers);

// The gradients by table [R, V] and importance [R, H] of a loss, from its gradient by `sums`. Each thread has its rows
// and adds to them in the order of values, so that the result is the same for any number of threads.
void sum_bags_backward(const BagsInput& input, std::span<const float> by_sums, std::span<float> by_table,
                       std::span<float> by_importance, const Workers& workers);

}  // namespace omnisage
