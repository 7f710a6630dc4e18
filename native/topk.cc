#include "topk.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace omnisage {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

// One integer that orders by score, then by falling index. Adding 0 makes -0 equal to 0.
std::uint64_t sort_key(float score, std::size_t index) {
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0f);
  const std::uint32_t ordered = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<std::uint64_t>(ordered) << 32 | static_cast<std::uint32_t>(~index);
}

std::size_t index_of(std::uint64_t key) { return static_cast<std::uint32_t>(~key); }

[[noreturn]] void refuse_nan(std::size_t row, std::size_t column) {
  throw std::invalid_argument("scores[" + std::to_string(row) + ", " + std::to_string(column) +
                              "] is NaN; scores must be numbers (-inf excludes an entry)");
}

// Leaves the keys of the k best entries in `best`, largest first.
void best_of_row(std::span<const float> row, std::size_t row_index, std::size_t k,
                 std::vector<std::uint64_t>& best) {
  best.clear();
  float threshold = kLowest;
  for (std::size_t column = 0; column < row.size(); ++column) {
    const float score = row[column];
    if (score <= threshold) continue;  // false for a NaN; an equal score later in the row loses
    if (std::isnan(score)) refuse_nan(row_index, column);
    if (k == 0) continue;
    if (best.size() == k) {
      std::pop_heap(best.begin(), best.end(), std::greater<>());
      best.pop_back();
    }
    best.push_back(sort_key(score, column));
    std::push_heap(best.begin(), best.end(), std::greater<>());
    if (best.size() == k) threshold = row[index_of(best.front())];
  }
  std::sort_heap(best.begin(), best.end(), std::greater<>());
}

}  // namespace

void topk(std::span<const float> scores, std::size_t num_columns, std::size_t k, std::span<float> values,
          std::span<std::uint32_t> indices, const Workers& workers) {
  if (num_columns == 0) {
    std::fill(values.begin(), values.end(), kLowest);
    std::fill(indices.begin(), indices.end(), kEmpty);
    return;
  }
  std::vector<std::vector<std::uint64_t>> scratch(workers.count());
  const std::size_t num_rows = scores.size() / num_columns;
  parallel_for(num_rows, 4, workers, [&](std::size_t thread, std::size_t begin, std::size_t end) {
    std::vector<std::uint64_t>& best = scratch[thread];
    for (std::size_t row_index = begin; row_index < end; ++row_index) {
      const std::span<const float> row = scores.subspan(row_index * num_columns, num_columns);
      best_of_row(row, row_index, k, best);
      for (std::size_t slot = 0; slot < k; ++slot) {
        const bool is_filled = slot < best.size();
        const std::size_t index = is_filled ? index_of(best[slot]) : kEmpty;
        values[row_index * k + slot] = is_filled ? row[index] : kLowest;
        indices[row_index * k + slot] = static_cast<std::uint32_t>(index);
      }
    }
  });
}

}  // namespace omnisage
